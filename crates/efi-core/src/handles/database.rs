//! The handle database.

use alloc::vec::Vec;

use uguid::Guid;

use super::handle::{Handle, Interface, Pair};
use super::locate::{Registration, Registrations, Search};
use super::open::{OpenAttributes, OpenInformation, Opens};
use crate::sorted_map::SortedMap;
use crate::{Result, Status};

/// Protocols of one handle, and handles of the database.
const MAX_PROTOCOLS: usize = 1024;
const MAX_HANDLES: usize = 65_536;

/// The first handle, and the distance of two: numbers that are neither small nor addresses of pages.
const FIRST: u64 = 0x4846_0010;
const STEP: u64 = 0x10;

#[derive(Clone, Debug)]
struct Installed {
    guid: Guid,
    interface: Interface,
    opens: Opens,
}

/// All handles with their protocols.
#[derive(Clone, Debug)]
pub struct Database {
    handles: SortedMap<u64, Vec<Installed>>,
    next: u64,
    registrations: Registrations,
    signals: Vec<u64>,
}

impl Default for Database {
    fn default() -> Self {
        Self::new()
    }
}

impl Database {
    /// A database without handles.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            handles: SortedMap::new(),
            next: FIRST,
            registrations: Registrations::new(),
            signals: Vec::new(),
        }
    }

    /// True if the handle has a protocol.
    #[must_use]
    pub fn is_valid(&self, handle: Handle) -> bool {
        self.handles.contains_key(&handle.0)
    }

    /// `InstallProtocolInterface`: adds a protocol to a handle, or to a new handle without one. The events of registrations
    /// are then in [`take_signals`](Self::take_signals).
    ///
    /// # Errors
    ///
    /// `INVALID_PARAMETER` if the handle is invalid or has the protocol; `OUT_OF_RESOURCES` if there are too many.
    pub fn install(&mut self, handle: Option<Handle>, guid: Guid, interface: Interface) -> Result<Handle> {
        self.install_multiple(handle, &[(guid, interface)])
    }

    /// `InstallMultipleProtocolInterfaces`: all of the protocols, or none. The caller makes sure that a device path is new.
    ///
    /// # Errors
    ///
    /// Those of [`install`](Self::install), and `INVALID_PARAMETER` if a protocol is given twice or none is given for a new
    /// handle.
    pub fn install_multiple(&mut self, handle: Option<Handle>, pairs: &[Pair]) -> Result<Handle> {
        let installed: &[Installed] = match handle {
            Some(handle) => self.handles.get(&handle.0).ok_or(Status::INVALID_PARAMETER)?,
            None if pairs.is_empty() => return Err(Status::INVALID_PARAMETER),
            None => &[],
        };
        for (index, (guid, _)) in pairs.iter().enumerate() {
            let before = pairs.iter().take(index).any(|(other, _)| other == guid);
            if before || installed.iter().any(|installed| installed.guid == *guid) {
                return Err(Status::INVALID_PARAMETER);
            }
        }
        let is_full = handle.is_none() && self.handles.len() >= MAX_HANDLES;
        if is_full || installed.len().saturating_add(pairs.len()) > MAX_PROTOCOLS {
            return Err(Status::OUT_OF_RESOURCES);
        }
        let handle = match handle {
            Some(handle) => handle,
            None => self.new_handle()?,
        };
        if !self.handles.contains_key(&handle.0) {
            self.handles.insert(handle.0, Vec::new());
        }
        let protocols = self.handles.get_mut(&handle.0).ok_or(Status::INVALID_PARAMETER)?;
        for (guid, interface) in pairs {
            protocols.push(Installed {
                guid: *guid,
                interface: *interface,
                opens: Opens::default(),
            });
            self.signals.extend(self.registrations.installed(guid, handle.0));
        }
        Ok(handle)
    }

    fn new_handle(&mut self) -> Result<Handle> {
        let handle = self.next;
        self.next = self.next.checked_add(STEP).ok_or(Status::OUT_OF_RESOURCES)?;
        Ok(Handle(handle))
    }

    /// `ReinstallProtocolInterface`: replaces an interface, and signals registrations.
    ///
    /// # Errors
    ///
    /// `INVALID_PARAMETER` if the handle is invalid; `NOT_FOUND` if it has not this interface; `ACCESS_DENIED` while a driver
    /// or an exclusive user has it.
    pub fn reinstall(&mut self, handle: Handle, guid: Guid, old: Interface, new: Interface) -> Result<()> {
        let installed = self.removable(handle, &guid, old)?;
        installed.interface = new;
        installed.opens = Opens::default();
        self.signals.extend(self.registrations.installed(&guid, handle.0));
        Ok(())
    }

    /// `UninstallProtocolInterface`. The handle is freed with its last protocol.
    ///
    /// # Errors
    ///
    /// Those of [`reinstall`](Self::reinstall).
    pub fn uninstall(&mut self, handle: Handle, guid: Guid, interface: Interface) -> Result<()> {
        self.uninstall_multiple(handle, &[(guid, interface)])
    }

    /// `UninstallMultipleProtocolInterfaces`: all of the protocols, or none.
    ///
    /// # Errors
    ///
    /// `INVALID_PARAMETER` for each error of [`reinstall`](Self::reinstall) if there is more than one protocol, else that
    /// error. `INVALID_PARAMETER` if a protocol is given twice.
    pub fn uninstall_multiple(&mut self, handle: Handle, pairs: &[Pair]) -> Result<()> {
        let is_single = pairs.len() == 1;
        for (index, (guid, interface)) in pairs.iter().enumerate() {
            let before = pairs.iter().take(index).any(|(other, _)| other == guid);
            match self.removable(handle, guid, *interface) {
                Ok(_) if before => return Err(Status::INVALID_PARAMETER),
                Err(status) if is_single => return Err(status),
                Err(_) => return Err(Status::INVALID_PARAMETER),
                Ok(_) => (),
            }
        }
        let protocols = self.handles.get_mut(&handle.0).ok_or(Status::INVALID_PARAMETER)?;
        protocols.retain(|installed| !pairs.iter().any(|(guid, _)| *guid == installed.guid));
        if protocols.is_empty() {
            self.handles.remove(&handle.0);
            self.forget(handle);
        }
        Ok(())
    }

    /// The interface, if it can be removed.
    fn removable(&mut self, handle: Handle, guid: &Guid, interface: Interface) -> Result<&mut Installed> {
        let installed = self.find_mut(handle, guid, Status::NOT_FOUND)?;
        if installed.interface != interface {
            return Err(Status::NOT_FOUND);
        }
        if installed.opens.is_in_use() {
            return Err(Status::ACCESS_DENIED);
        }
        Ok(installed)
    }

    /// Removes a dead handle from the records of opens and registrations.
    fn forget(&mut self, handle: Handle) {
        for installed in self.handles.values_mut().flatten() {
            installed.opens.forget(handle.0);
        }
        self.registrations.forget_handle(handle.0);
    }

    /// The interface of a protocol.
    ///
    /// # Errors
    ///
    /// `INVALID_PARAMETER` if the handle is invalid; `UNSUPPORTED` if it lacks the protocol.
    pub fn interface(&self, handle: Handle, guid: Guid) -> Result<Interface> {
        let protocols = self.handles.get(&handle.0).ok_or(Status::INVALID_PARAMETER)?;
        let found = protocols.iter().find(|installed| installed.guid == guid);
        found
            .map(|installed| installed.interface)
            .ok_or(Status::UNSUPPORTED)
    }

    /// `OpenProtocol`: the interface. `HandleProtocol` is the same with `BY_HANDLE_PROTOCOL` and the firmware's image as the
    /// agent.
    ///
    /// # Errors
    ///
    /// `INVALID_PARAMETER` if a needed handle is missing or invalid, or the handle is its own child; `UNSUPPORTED` if the
    /// handle lacks the protocol; `ALREADY_STARTED` if the same driver has it, for any controller; `ACCESS_DENIED` if another
    /// driver or an exclusive user has it; `OUT_OF_RESOURCES` if there are too many records.
    pub fn open(
        &mut self,
        handle: Handle,
        guid: Guid,
        agent: Option<Handle>,
        controller: Option<Handle>,
        attributes: OpenAttributes,
    ) -> Result<Interface> {
        let is_valid = |handle: Option<Handle>| handle.is_some_and(|handle| self.is_valid(handle));
        let child = attributes.contains(OpenAttributes::BY_CHILD_CONTROLLER);
        let driver = attributes.contains(OpenAttributes::BY_DRIVER);
        let needs_agent = child || driver || attributes.contains(OpenAttributes::EXCLUSIVE);
        // An exclusive open may have no controller, but a wrong one could never be closed.
        let needs_controller = child || driver || controller.is_some();
        if (needs_agent && !is_valid(agent))
            || (needs_agent && needs_controller && !is_valid(controller))
            || (child && controller == Some(handle))
        {
            return Err(Status::INVALID_PARAMETER);
        }
        let installed = self.find_mut(handle, &guid, Status::UNSUPPORTED)?;
        if let Some(agent) = agent.filter(|_| !attributes.contains(OpenAttributes::TEST_PROTOCOL)) {
            let controller = controller.map_or(0, |controller| controller.0);
            installed.opens.open(agent.0, controller, attributes)?;
        }
        Ok(installed.interface)
    }

    /// `CloseProtocol`.
    ///
    /// # Errors
    ///
    /// `INVALID_PARAMETER` if a handle is invalid; `NOT_FOUND` if the handle lacks the protocol, or the agent has not opened
    /// it for the controller.
    pub fn close(
        &mut self,
        handle: Handle,
        guid: Guid,
        agent: Handle,
        controller: Option<Handle>,
    ) -> Result<()> {
        if !self.is_valid(agent) || controller.is_some_and(|controller| !self.is_valid(controller)) {
            return Err(Status::INVALID_PARAMETER);
        }
        let installed = self.find_mut(handle, &guid, Status::NOT_FOUND)?;
        if installed
            .opens
            .close(agent.0, controller.map_or(0, |controller| controller.0))
        {
            Ok(())
        } else {
            Err(Status::NOT_FOUND)
        }
    }

    /// `OpenProtocolInformation`.
    ///
    /// # Errors
    ///
    /// `NOT_FOUND` if the handle is invalid or lacks the protocol.
    pub fn open_information(&self, handle: Handle, guid: Guid) -> Result<&[OpenInformation]> {
        let protocols = self.handles.get(&handle.0).ok_or(Status::NOT_FOUND)?;
        let found = protocols.iter().find(|installed| installed.guid == guid);
        found
            .map(|installed| installed.opens.records())
            .ok_or(Status::NOT_FOUND)
    }

    /// Removes the opens of an image that is unloaded.
    pub fn close_all_of(&mut self, agent: Handle) {
        self.handles
            .values_mut()
            .flatten()
            .for_each(|installed| installed.opens.forget(agent.0));
    }

    /// `ProtocolsPerHandle`: in the order of installation.
    ///
    /// # Errors
    ///
    /// `INVALID_PARAMETER` if the handle is invalid.
    pub fn protocols(&self, handle: Handle) -> Result<impl Iterator<Item = Guid> + '_> {
        let protocols = self.handles.get(&handle.0).ok_or(Status::INVALID_PARAMETER)?;
        Ok(protocols.iter().map(|installed| installed.guid))
    }

    /// `LocateHandle`: the handles in the order of their creation. A search by a registration returns the next new handle.
    ///
    /// # Errors
    ///
    /// `NOT_FOUND` if no handle matches; `INVALID_PARAMETER` if there is no such registration.
    pub fn locate(&self, search: Search) -> Result<Vec<Handle>> {
        let found: Vec<_> = match search {
            Search::All => self.handles.keys().copied().map(Handle).collect(),
            Search::Protocol(guid) => self
                .handles
                .iter()
                .filter(|(_, protocols)| protocols.iter().any(|installed| installed.guid == guid))
                .map(|(handle, _)| Handle(*handle))
                .collect(),
            Search::Registration(registration) => self
                .registrations
                .next(registration)?
                .into_iter()
                .map(Handle)
                .collect(),
        };
        if found.is_empty() {
            Err(Status::NOT_FOUND)
        } else {
            Ok(found)
        }
    }

    /// Moves a registration past the handle that [`locate`](Self::locate) returned.
    pub fn advance(&mut self, registration: Registration) {
        self.registrations.advance(registration);
    }

    /// `LocateProtocol`: the first interface of a protocol, of the next new handle if a registration is given.
    ///
    /// # Errors
    ///
    /// `NOT_FOUND` if no handle has the protocol.
    pub fn locate_protocol(&mut self, guid: Guid, registration: Option<Registration>) -> Result<Interface> {
        let handle = match registration {
            None => self.locate(Search::Protocol(guid))?.into_iter().next(),
            Some(registration) => {
                let found = self
                    .locate(Search::Registration(registration))
                    .or(Err(Status::NOT_FOUND))?;
                self.advance(registration);
                found.into_iter().next()
            }
        };
        let handle = handle.ok_or(Status::NOT_FOUND)?;
        self.interface(handle, guid).or(Err(Status::NOT_FOUND))
    }

    /// `RegisterProtocolNotify`: the event is signalled whenever the protocol is installed.
    ///
    /// # Errors
    ///
    /// `OUT_OF_RESOURCES` if there are too many registrations.
    pub fn register(&mut self, guid: Guid, event: u64) -> Result<Registration> {
        self.registrations.add(guid, event)
    }

    /// Removes the registrations of a closed event.
    pub fn forget_event(&mut self, event: u64) {
        self.registrations.forget_event(event);
        self.signals.retain(|signal| *signal != event);
    }

    /// The events to signal since the last call, in order.
    pub fn take_signals(&mut self) -> Vec<u64> {
        core::mem::take(&mut self.signals)
    }

    fn find_mut(&mut self, handle: Handle, guid: &Guid, missing: Status) -> Result<&mut Installed> {
        let protocols = self.handles.get_mut(&handle.0).ok_or(Status::INVALID_PARAMETER)?;
        protocols
            .iter_mut()
            .find(|installed| installed.guid == *guid)
            .ok_or(missing)
    }
}

#[cfg(test)]
mod tests;
