//! The services of the boot and runtime services tables, in the order of the tables (UEFI specification 2.10, sections 4.4 and
//! 4.5), and the arguments that a trace shows.

/// An argument to show. Arguments count from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// A pointer to a GUID.
    Guid(usize),
    /// A pointer to UTF-16 with a terminating zero.
    Text(usize),
    /// A number, behind this label.
    Number(&'static str, usize),
    /// Whether a pointer is not null, behind this label.
    IsPresent(&'static str, usize),
    /// Pairs of a pointer to a GUID and another pointer, from this argument up to a null.
    GuidPairs(usize),
}

/// A service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service {
    /// Name in the specification.
    pub name: &'static str,
    /// Arguments that a trace shows.
    pub shown: &'static [Shown],
    /// The argument with the GUID of a protocol or a configuration table, if there is one.
    pub protocol: Option<usize>,
}

impl Service {
    const fn new(name: &'static str, shown: &'static [Shown]) -> Self {
        Self {
            name,
            shown,
            protocol: None,
        }
    }

    /// A service for a protocol, whose GUID is in this argument.
    const fn of_protocol(name: &'static str, protocol: usize, shown: &'static [Shown]) -> Self {
        Self {
            name,
            shown,
            protocol: Some(protocol),
        }
    }
}

impl Service {
    /// False for services that return nothing, or a task priority level.
    #[must_use]
    pub fn has_status(&self) -> bool {
        !matches!(self.name, "RaiseTPL" | "RestoreTPL" | "CopyMem" | "SetMem")
    }
}

/// Number of boot services.
pub const BOOT_COUNT: usize = 44;

/// Number of runtime services.
pub const RUNTIME_COUNT: usize = 14;

/// All services: those of the boot services table, then those of the runtime services table.
pub const SERVICES: [Service; BOOT_COUNT + RUNTIME_COUNT] = [
    Service::new("RaiseTPL", &[]),
    Service::new("RestoreTPL", &[]),
    Service::new(
        "AllocatePages",
        &[Shown::Number("how", 0), Shown::Number("type", 1)],
    ),
    Service::new("FreePages", &[]),
    Service::new("GetMemoryMap", &[]),
    Service::new("AllocatePool", &[Shown::Number("type", 0)]),
    Service::new("FreePool", &[]),
    Service::new("CreateEvent", &[Shown::Number("type", 0)]),
    Service::new("SetTimer", &[Shown::Number("kind", 1)]),
    Service::new("WaitForEvent", &[]),
    Service::new("SignalEvent", &[]),
    Service::new("CloseEvent", &[]),
    Service::new("CheckEvent", &[]),
    Service::of_protocol("InstallProtocolInterface", 1, &[Shown::Guid(1)]),
    Service::of_protocol("ReinstallProtocolInterface", 1, &[Shown::Guid(1)]),
    Service::of_protocol("UninstallProtocolInterface", 1, &[Shown::Guid(1)]),
    Service::of_protocol("HandleProtocol", 1, &[Shown::Guid(1)]),
    // A reserved entry of the table, which is not a service.
    Service::new("Reserved", &[]),
    Service::of_protocol("RegisterProtocolNotify", 0, &[Shown::Guid(0)]),
    Service::of_protocol("LocateHandle", 1, &[Shown::Number("how", 0), Shown::Guid(1)]),
    Service::of_protocol("LocateDevicePath", 0, &[Shown::Guid(0)]),
    Service::of_protocol("InstallConfigurationTable", 0, &[Shown::Guid(0)]),
    Service::new(
        "LoadImage",
        &[
            Shown::Number("policy", 0),
            Shown::IsPresent("path", 2),
            Shown::IsPresent("source", 3),
        ],
    ),
    Service::new("StartImage", &[]),
    Service::new("Exit", &[]),
    Service::new("UnloadImage", &[]),
    Service::new("ExitBootServices", &[]),
    Service::new("GetNextMonotonicCount", &[]),
    Service::new("Stall", &[Shown::Number("us", 0)]),
    Service::new("SetWatchdogTimer", &[Shown::Number("seconds", 0)]),
    Service::new("ConnectController", &[]),
    Service::new("DisconnectController", &[]),
    Service::of_protocol(
        "OpenProtocol",
        1,
        &[Shown::Guid(1), Shown::Number("attributes", 5)],
    ),
    Service::of_protocol("CloseProtocol", 1, &[Shown::Guid(1)]),
    Service::of_protocol("OpenProtocolInformation", 1, &[Shown::Guid(1)]),
    Service::new("ProtocolsPerHandle", &[]),
    Service::of_protocol(
        "LocateHandleBuffer",
        1,
        &[Shown::Number("how", 0), Shown::Guid(1)],
    ),
    Service::of_protocol("LocateProtocol", 0, &[Shown::Guid(0)]),
    Service::of_protocol("InstallMultipleProtocolInterfaces", 1, &[Shown::GuidPairs(1)]),
    Service::of_protocol("UninstallMultipleProtocolInterfaces", 1, &[Shown::GuidPairs(1)]),
    Service::new("CalculateCrc32", &[]),
    Service::new("CopyMem", &[]),
    Service::new("SetMem", &[]),
    Service::new("CreateEventEx", &[Shown::Number("type", 0), Shown::Guid(4)]),
    Service::new("GetTime", &[]),
    Service::new("SetTime", &[]),
    Service::new("GetWakeupTime", &[]),
    Service::new("SetWakeupTime", &[]),
    Service::new("SetVirtualAddressMap", &[]),
    Service::new("ConvertPointer", &[]),
    Service::new("GetVariable", &[Shown::Text(0), Shown::Guid(1)]),
    Service::new("GetNextVariableName", &[]),
    Service::new(
        "SetVariable",
        &[Shown::Text(0), Shown::Guid(1), Shown::Number("attributes", 2)],
    ),
    Service::new("GetNextHighMonotonicCount", &[]),
    Service::new("ResetSystem", &[Shown::Number("kind", 0)]),
    Service::new("UpdateCapsule", &[]),
    Service::new("QueryCapsuleCapabilities", &[]),
    Service::new("QueryVariableInfo", &[Shown::Number("attributes", 0)]),
];

/// Index of the service of this name.
#[must_use]
pub fn find(name: &str) -> Option<usize> {
    SERVICES.iter().position(|service| service.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_at_their_offsets() {
        // Offsets in the tables of the UEFI specification, less the header of 24 bytes, in units of pointers.
        for (name, index) in [
            ("RaiseTPL", 0),
            ("HandleProtocol", 16),
            ("LoadImage", 22),
            ("ExitBootServices", 26),
            ("LocateProtocol", 37),
            ("CreateEventEx", 43),
            ("GetTime", BOOT_COUNT),
            ("GetVariable", BOOT_COUNT + 6),
            ("ResetSystem", BOOT_COUNT + 10),
            ("QueryVariableInfo", BOOT_COUNT + 13),
        ] {
            assert_eq!(find(name), Some(index), "{name}");
        }
        assert_eq!(find("NoSuchService"), None);
        assert!(SERVICES[26].has_status() && !SERVICES[41].has_status());
    }

    #[test]
    fn the_guid_of_a_protocol_is_shown() {
        for service in SERVICES {
            if let Some(argument) = service.protocol {
                let is_shown = service
                    .shown
                    .iter()
                    .any(|shown| [Shown::Guid(argument), Shown::GuidPairs(argument)].contains(shown));
                assert!(is_shown, "{}", service.name);
            }
        }
    }
}
