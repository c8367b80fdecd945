//! Protocol services against a list of handles.

use std::collections::{BTreeMap, BTreeSet};

use efi_core::Guid;
use efi_core::Status;
use efi_core::handles::{Database, DriverSearch, Handle, OpenAttributes, Search};

use super::arguments::Arguments;

fn guid(number: u64) -> Guid {
    Guid::from_bytes([u8::try_from(number).unwrap(); 16])
}

/// A protocol with its interface and the agents that own it.
#[derive(Clone, PartialEq, Eq)]
struct Protocol {
    interface: u64,
    owners: Vec<(u64, u64)>,
    /// Opens by drivers, and for children of drivers.
    drivers: Vec<(u64, u64)>,
    children: Vec<(u64, u64)>,
}

impl Protocol {
    const fn new(interface: u64) -> Self {
        Self {
            interface,
            owners: Vec::new(),
            drivers: Vec::new(),
            children: Vec::new(),
        }
    }

    /// Keeps the opens of other agents and controllers.
    fn retain(&mut self, keep: impl Fn(&(u64, u64)) -> bool) {
        for opens in [&mut self.owners, &mut self.drivers, &mut self.children] {
            opens.retain(&keep);
        }
    }
}

pub(crate) struct Model {
    database: Database,
    handles: BTreeMap<u64, BTreeMap<u64, Protocol>>,
    dead: Vec<u64>,
}

impl Model {
    pub(crate) fn new() -> Self {
        Self {
            database: Database::new(),
            handles: BTreeMap::new(),
            dead: Vec::new(),
        }
    }

    fn any(&self, arguments: &mut Arguments<'_>) -> u64 {
        let known: Vec<u64> = self.handles.keys().chain(&self.dead).copied().collect();
        arguments.pick(&known, 0x77)
    }

    pub(crate) fn step(&mut self, arguments: &mut Arguments<'_>) {
        match arguments.below(9) {
            8 => search_drivers(arguments),
            0 | 1 => self.install(arguments),
            2 => self.uninstall(arguments),
            3 => self.reinstall(arguments),
            4 | 5 => self.open(arguments),
            6 => self.close(arguments),
            _ => self.register(arguments),
        }
        self.check();
    }

    fn install(&mut self, arguments: &mut Arguments<'_>) {
        let count = arguments.below(4);
        let pairs: Vec<_> = (0..count)
            .map(|_| (arguments.below(5), arguments.below(9)))
            .collect();
        let handle = if arguments.below(2) == 0 {
            None
        } else {
            Some(self.any(arguments))
        };
        let empty = BTreeMap::new();
        let old = handle.map_or(Some(&empty), |handle| self.handles.get(&handle));
        let is_new = |guid: &u64, index: usize| pairs.iter().take(index).all(|(other, _)| other != guid);
        let expected = old.is_some_and(|old| {
            let mut all = pairs.iter().enumerate();
            all.all(|(index, (guid, _))| is_new(guid, index) && !old.contains_key(guid))
        }) && (handle.is_some() || count > 0);
        let list: Vec<_> = pairs
            .iter()
            .map(|(number, interface)| (guid(*number), *interface))
            .collect();
        let result = self.database.install_multiple(handle.map(Handle), &list);
        assert_eq!(result.is_ok(), expected, "{result:?}");
        if let Ok(new) = result {
            assert!(!self.dead.contains(&new.0), "dead handles stay dead");
            let protocols = self.handles.entry(new.0).or_default();
            for (guid, interface) in pairs {
                protocols.insert(guid, Protocol::new(interface));
            }
        }
    }

    fn uninstall(&mut self, arguments: &mut Arguments<'_>) {
        let handle = self.any(arguments);
        let number = arguments.below(5);
        let found = self.handles.get(&handle).map(|protocols| protocols.get(&number));
        let interface = match found {
            Some(Some(protocol)) if arguments.below(4) != 0 => protocol.interface,
            _ => 99,
        };
        let expected = match found {
            None => Err(Status::INVALID_PARAMETER),
            Some(Some(protocol)) if protocol.interface == interface => {
                if protocol.owners.is_empty() {
                    Ok(())
                } else {
                    Err(Status::ACCESS_DENIED)
                }
            }
            Some(_) => Err(Status::NOT_FOUND),
        };
        assert_eq!(
            self.database.uninstall(Handle(handle), guid(number), interface),
            expected
        );
        let Some(protocols) = self.handles.get_mut(&handle).filter(|_| expected.is_ok()) else {
            return;
        };
        protocols.remove(&number);
        if protocols.is_empty() {
            self.handles.remove(&handle);
            self.dead.push(handle);
            for protocol in self.handles.values_mut().flat_map(BTreeMap::values_mut) {
                protocol.retain(|(agent, controller)| *agent != handle && *controller != handle);
            }
        }
    }

    fn reinstall(&mut self, arguments: &mut Arguments<'_>) {
        let (handle, number, new) = (self.any(arguments), arguments.below(5), arguments.below(9));
        let protocol = self
            .handles
            .get_mut(&handle)
            .and_then(|protocols| protocols.get_mut(&number));
        let old = protocol.as_ref().map_or(0, |protocol| protocol.interface);
        let expected = protocol
            .as_ref()
            .is_some_and(|protocol| protocol.owners.is_empty());
        let result = self.database.reinstall(Handle(handle), guid(number), old, new);
        assert_eq!(result.is_ok(), expected);
        if let Some(protocol) = protocol.filter(|_| expected) {
            *protocol = Protocol::new(new);
        }
    }

    fn open(&mut self, arguments: &mut Arguments<'_>) {
        let (handle, number) = (self.any(arguments), arguments.below(5));
        let (agent, controller) = (self.any(arguments), self.any(arguments));
        let number_of = |arguments: &mut Arguments<'_>| match arguments.below(7) {
            6 => 0x30,
            bit => 1 << bit,
        };
        let Ok(attributes) = OpenAttributes::from_number(number_of(arguments)) else {
            return;
        };
        let result = self.database.open(
            Handle(handle),
            guid(number),
            Some(Handle(agent)),
            Some(Handle(controller)),
            attributes,
        );
        let protocol = self
            .handles
            .get(&handle)
            .and_then(|protocols| protocols.get(&number));
        if let (Ok(interface), Some(protocol)) = (result, protocol) {
            assert_eq!(interface, protocol.interface);
        }
        assert!(protocol.is_some() || result.is_err());
        let owners = OpenAttributes::BY_DRIVER | OpenAttributes::EXCLUSIVE;
        let protocol = self
            .handles
            .get_mut(&handle)
            .and_then(|protocols| protocols.get_mut(&number));
        let Some(protocol) = protocol.filter(|_| result.is_ok()) else {
            return;
        };
        if attributes.intersects(owners) {
            assert!(protocol.owners.is_empty(), "one owner at a time");
            protocol.owners.push((agent, controller));
        }
        if attributes.contains(OpenAttributes::BY_DRIVER) {
            protocol.drivers.push((agent, controller));
        }
        if attributes.contains(OpenAttributes::BY_CHILD_CONTROLLER) {
            protocol.children.push((agent, controller));
        }
    }

    fn close(&mut self, arguments: &mut Arguments<'_>) {
        let (handle, number) = (self.any(arguments), arguments.below(5));
        let (agent, controller) = (self.any(arguments), self.any(arguments));
        let result = self.database.close(
            Handle(handle),
            guid(number),
            Handle(agent),
            Some(Handle(controller)),
        );
        let protocol = self
            .handles
            .get_mut(&handle)
            .and_then(|protocols| protocols.get_mut(&number));
        match (result, protocol) {
            (Ok(()), Some(protocol)) => protocol.retain(|open| *open != (agent, controller)),
            (Ok(()), None) => panic!("an open of a protocol that does not exist"),
            (Err(_), Some(protocol)) => assert!(!protocol.owners.contains(&(agent, controller))),
            (Err(_), None) => (),
        }
    }

    fn register(&mut self, arguments: &mut Arguments<'_>) {
        let event = arguments.below(4);
        if arguments.below(2) == 0 {
            let key = self.database.register(guid(arguments.below(5)), event);
            assert!(key.is_ok_and(|key| self.database.locate(Search::Registration(key)) == Err(Status::NOT_FOUND)));
        } else {
            self.database.forget_event(event);
        }
        self.database.take_signals();
    }

    fn check(&self) {
        let all: Vec<u64> = self.handles.keys().copied().collect();
        let found = self.database.locate(Search::All).unwrap_or_default();
        assert_eq!(found.iter().map(|handle| handle.0).collect::<Vec<_>>(), all);
        assert!(
            self.dead
                .iter()
                .all(|handle| !self.database.is_valid(Handle(*handle)))
        );
        for number in 0..5 {
            let expected: Vec<u64> = self
                .handles
                .iter()
                .filter(|(_, protocols)| protocols.contains_key(&number))
                .map(|(handle, _)| *handle)
                .collect();
            let found = self
                .database
                .locate(Search::Protocol(guid(number)))
                .unwrap_or_default();
            assert_eq!(found.iter().map(|handle| handle.0).collect::<Vec<_>>(), expected);
        }
        for (handle, protocols) in &self.handles {
            self.check_drivers(*handle, protocols);
            for (number, protocol) in protocols {
                assert_eq!(
                    self.database.interface(Handle(*handle), guid(*number)),
                    Ok(protocol.interface)
                );
            }
        }
    }

    /// The drivers and children of a controller, each once, whatever the order.
    fn check_drivers(&self, handle: u64, protocols: &BTreeMap<u64, Protocol>) {
        let controller = Handle(handle);
        let set = |found: Vec<Handle>| {
            let len = found.len();
            let set: BTreeSet<u64> = found.into_iter().map(|handle| handle.0).collect();
            assert_eq!(set.len(), len);
            set
        };
        let all = || protocols.values();
        let drivers = all().flat_map(|protocol| &protocol.drivers);
        let expected: BTreeSet<u64> = drivers
            .filter(|(_, user)| *user == handle)
            .map(|(agent, _)| *agent)
            .collect();
        assert_eq!(set(self.database.managing_drivers(controller)), expected);
        let children = |driver: Option<u64>| -> BTreeSet<u64> {
            all()
                .flat_map(|protocol| &protocol.children)
                .filter(|(agent, _)| driver.is_none_or(|driver| driver == *agent))
                .map(|(_, child)| *child)
                .collect()
        };
        assert_eq!(set(self.database.children(controller, None)), children(None));
        for driver in self.handles.keys() {
            let found = self.database.children(controller, Some(Handle(*driver)));
            assert_eq!(set(found), children(Some(*driver)));
        }
        for (number, protocol) in protocols {
            let found = self.database.drivers_of_protocol(controller, guid(*number));
            let found: Vec<_> = found.into_iter().map(|(agent, user)| (agent.0, user.0)).collect();
            assert_eq!(found, protocol.drivers);
        }
    }
}

/// The order of drivers for a controller against a search that begins again after each start.
fn search_drivers(arguments: &mut Arguments<'_>) {
    let named: Vec<_> = (0..arguments.below(4))
        .map(|_| Handle(arguments.below(6)))
        .collect();
    let all: Vec<_> = (0..arguments.below(7))
        .map(|number| (Handle(number), u32::try_from(arguments.below(4)).unwrap()))
        .collect();
    let supports = arguments.byte();
    let supports = |driver: Handle| supports >> driver.0 & 1 == 1;

    let mut order: Vec<Handle> = Vec::new();
    for driver in &named {
        if !order.contains(driver) {
            order.push(*driver);
        }
    }
    for version in (0..4).rev() {
        let others = all.iter().filter(|(_, found)| *found == version);
        let others = others
            .map(|(driver, _)| *driver)
            .filter(|driver| !named.contains(driver));
        order.extend(others);
    }
    let (mut expected, mut started) = (Vec::new(), Vec::new());
    'again: loop {
        for driver in order
            .iter()
            .filter(|driver| !started.contains(*driver))
            .copied()
            .collect::<Vec<_>>()
        {
            expected.push(driver);
            if supports(driver) {
                started.push(driver);
                continue 'again;
            }
        }
        break;
    }
    let mut search = DriverSearch::new(&named, &all);
    let mut found = Vec::new();
    while let Some(driver) = search.next_driver() {
        found.push(driver);
        if supports(driver) {
            search.start();
        }
    }
    assert_eq!(found, expected);
}
