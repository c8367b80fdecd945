//! Records of `OpenProtocol`.

use alloc::vec::Vec;

use bitflags::bitflags;

use crate::{Result, Status};

bitflags! {
    /// `EFI_OPEN_PROTOCOL_*`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct OpenAttributes: u32 {
        /// `HandleProtocol`.
        const BY_HANDLE_PROTOCOL = 0x1;
        /// The interface without a record of its use by a driver.
        const GET_PROTOCOL = 0x2;
        /// Only a test for the protocol.
        const TEST_PROTOCOL = 0x4;
        /// A bus driver's child uses the interface.
        const BY_CHILD_CONTROLLER = 0x8;
        /// A driver uses the interface.
        const BY_DRIVER = 0x10;
        /// No driver may use the interface at the same time.
        const EXCLUSIVE = 0x20;
    }
}

impl OpenAttributes {
    /// The six attributes and the combination that `OpenProtocol` accepts.
    ///
    /// # Errors
    ///
    /// `INVALID_PARAMETER` for all other numbers.
    pub fn from_number(number: u32) -> Result<Self> {
        match number {
            0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x20 | 0x30 => Ok(Self::from_bits_truncate(number)),
            _ => Err(Status::INVALID_PARAMETER),
        }
    }
}

/// A record of `OpenProtocolInformation`. Handles are numbers; 0 is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OpenInformation {
    /// Image that opened the protocol.
    pub agent: u64,
    /// Controller that needs it.
    pub controller: u64,
    /// Attributes of `OpenProtocol`.
    pub attributes: OpenAttributes,
    /// Number of equal opens.
    pub count: u32,
}

/// The opens of one interface.
#[derive(Clone, Debug, Default)]
pub(super) struct Opens(Vec<OpenInformation>);

/// Records of one interface; an open that would need more fails.
const MAX_OPENS: usize = 1024;

impl Opens {
    pub(super) fn records(&self) -> &[OpenInformation] {
        &self.0
    }

    /// True while a driver or an exclusive user has the interface.
    pub(super) fn is_in_use(&self) -> bool {
        let owners = OpenAttributes::BY_DRIVER | OpenAttributes::EXCLUSIVE;
        self.0.iter().any(|open| open.attributes.intersects(owners))
    }

    /// Adds an open if the rules of `OpenProtocol` allow it. Drivers that an exclusive
    /// open replaces were disconnected before.
    pub(super) fn open(&mut self, agent: u64, controller: u64, attributes: OpenAttributes) -> Result<()> {
        let driver = OpenAttributes::BY_DRIVER;
        let owners = driver | OpenAttributes::EXCLUSIVE;
        if attributes.intersects(owners) {
            if let Some(open) = self.0.iter().find(|open| open.attributes.intersects(owners)) {
                // Section 7.3.9 compares agents and attributes, whatever the controller is.
                let is_same = (open.agent, open.attributes) == (agent, attributes);
                return Err(if is_same && attributes.contains(driver) {
                    Status::ALREADY_STARTED
                } else {
                    Status::ACCESS_DENIED
                });
            }
        }
        let same = |open: &&mut OpenInformation| {
            (open.agent, open.controller, open.attributes) == (agent, controller, attributes)
        };
        if let Some(open) = self.0.iter_mut().find(same) {
            open.count = open.count.saturating_add(1);
            return Ok(());
        }
        if self.0.len() >= MAX_OPENS {
            return Err(Status::OUT_OF_RESOURCES);
        }
        self.0.push(OpenInformation {
            agent,
            controller,
            attributes,
            count: 1,
        });
        Ok(())
    }

    /// Removes the opens of an agent for a controller; false if there was none.
    pub(super) fn close(&mut self, agent: u64, controller: u64) -> bool {
        let before = self.0.len();
        self.0
            .retain(|open| (open.agent, open.controller) != (agent, controller));
        self.0.len() != before
    }

    /// Removes every open that mentions a handle.
    pub(super) fn forget(&mut self, handle: u64) {
        self.0
            .retain(|open| open.agent != handle && open.controller != handle);
    }
}
