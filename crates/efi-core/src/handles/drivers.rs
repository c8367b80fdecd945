//! Drivers of the UEFI driver model: which ones manage a controller, and in which order they are tried, UEFI 2.10 section 7.3.

use alloc::vec::Vec;

use uguid::Guid;

use super::database::Database;
use super::handle::Handle;
use super::open::{OpenAttributes, OpenInformation};

impl Database {
    /// All opens of the protocols of a handle; none if the handle is invalid.
    fn opens(&self, handle: Handle) -> impl Iterator<Item = OpenInformation> + '_ {
        let protocols: Vec<Guid> = self.protocols(handle).map(Iterator::collect).unwrap_or_default();
        protocols
            .into_iter()
            .flat_map(move |guid| self.open_information(handle, guid).unwrap_or(&[]))
            .copied()
    }

    /// The drivers that manage a controller: the agents that opened a protocol of it `BY_DRIVER`, each once.
    #[must_use]
    pub fn managing_drivers(&self, controller: Handle) -> Vec<Handle> {
        let mut drivers = Vec::new();
        for open in self.opens(controller) {
            let is_driver =
                open.attributes.contains(OpenAttributes::BY_DRIVER) && open.controller == controller.0;
            if is_driver && !drivers.contains(&Handle(open.agent)) {
                drivers.push(Handle(open.agent));
            }
        }
        drivers
    }

    /// The children that a driver, or any driver, has made of a controller, each once.
    #[must_use]
    pub fn children(&self, controller: Handle, driver: Option<Handle>) -> Vec<Handle> {
        let mut children = Vec::new();
        for open in self.opens(controller) {
            let is_child = open.attributes.contains(OpenAttributes::BY_CHILD_CONTROLLER);
            let is_of_driver = driver.is_none_or(|driver| driver.0 == open.agent);
            let child = Handle(open.controller);
            if is_child && is_of_driver && !children.contains(&child) {
                children.push(child);
            }
        }
        children
    }

    /// The drivers that have opened one protocol of a handle `BY_DRIVER`, with their controllers: they are
    /// disconnected before the protocol is removed, or opened exclusively.
    #[must_use]
    pub fn drivers_of_protocol(&self, handle: Handle, guid: Guid) -> Vec<(Handle, Handle)> {
        let opens = self.open_information(handle, guid).unwrap_or(&[]);
        let drivers = opens
            .iter()
            .filter(|open| open.attributes.contains(OpenAttributes::BY_DRIVER));
        drivers
            .map(|open| (Handle(open.agent), Handle(open.controller)))
            .collect()
    }
}

/// The order in which `ConnectController` tries drivers for a controller. Each driver is started at most once, and the search
/// begins again after each driver that supports the controller.
#[derive(Clone, Debug)]
pub struct DriverSearch {
    /// Drivers in the order of their precedence; `None` for those that were started.
    drivers: Vec<Option<Handle>>,
    next: usize,
}

impl DriverSearch {
    /// First the drivers that the caller names, in its order, then all others by their version, the highest first. A driver that
    /// is named twice counts once.
    #[must_use]
    pub fn new(named: &[Handle], all: &[(Handle, u32)]) -> Self {
        let mut others: Vec<_> = all.to_vec();
        others.sort_unstable_by_key(|(handle, version)| (core::cmp::Reverse(*version), *handle));
        let others = others.into_iter().map(|(handle, _)| handle);
        let mut drivers = Vec::new();
        for handle in named.iter().copied().chain(others) {
            if !drivers.contains(&Some(handle)) {
                drivers.push(Some(handle));
            }
        }
        Self { drivers, next: 0 }
    }

    /// The next driver to ask.
    pub fn next_driver(&mut self) -> Option<Handle> {
        loop {
            let driver = self.drivers.get(self.next)?;
            self.next = self.next.saturating_add(1);
            if driver.is_some() {
                return *driver;
            }
        }
    }

    /// The driver that [`next_driver`](Self::next_driver) returned last supports the controller and is started.
    pub fn start(&mut self) {
        if let Some(driver) = self
            .next
            .checked_sub(1)
            .and_then(|last| self.drivers.get_mut(last))
        {
            *driver = None;
        }
        self.next = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uguid::guid;

    const A: Guid = guid!("00000000-0000-0000-0000-00000000000a");
    const B: Guid = guid!("00000000-0000-0000-0000-00000000000b");

    #[test]
    fn drivers_and_children_are_found_by_their_opens() {
        let mut db = Database::new();
        let controller = db.install_multiple(None, &[(A, 1), (B, 2)]).unwrap();
        let [bus, function, child, other] = [3, 4, 5, 6].map(|n| db.install(None, A, n).unwrap());
        let (by_driver, by_child) = (OpenAttributes::BY_DRIVER, OpenAttributes::BY_CHILD_CONTROLLER);
        let mut open = |guid, agent, user, attributes| {
            db.open(controller, guid, Some(agent), Some(user), attributes)
                .unwrap();
        };
        open(A, bus, controller, by_driver);
        open(A, bus, child, by_child);
        open(B, bus, child, by_child);
        open(A, function, other, by_child);
        open(B, function, child, by_driver);
        open(B, other, controller, OpenAttributes::GET_PROTOCOL);
        assert_eq!(db.managing_drivers(controller), [bus]);
        assert_eq!(db.managing_drivers(child), []);
        assert_eq!(db.children(controller, None), [child, other]);
        assert_eq!(db.children(controller, Some(bus)), [child]);
        assert_eq!(db.children(controller, Some(child)), []);
        assert_eq!(db.drivers_of_protocol(controller, A), [(bus, controller)]);
        assert_eq!(db.drivers_of_protocol(controller, B), [(function, child)]);
        assert_eq!(db.drivers_of_protocol(Handle(1), B), []);
        assert_eq!(db.children(Handle(1), None), []);
    }

    #[test]
    fn named_drivers_are_first_and_each_is_started_once() {
        let [a, b, c, d] = [1, 2, 3, 4].map(Handle);
        let mut search = DriverSearch::new(&[c, c], &[(a, 1), (b, 7), (c, 9), (d, 7)]);
        let mut order = Vec::new();
        // The driver b supports the controller, then a.
        while let Some(driver) = search.next_driver() {
            order.push(driver);
            let started = order.iter().filter(|before| **before == driver).count();
            if (driver == b && started == 1) || driver == a {
                search.start();
            }
        }
        assert_eq!(order, [c, b, c, d, a, c, d]);
        assert_eq!(DriverSearch::new(&[], &[]).next_driver(), None);
    }
}
