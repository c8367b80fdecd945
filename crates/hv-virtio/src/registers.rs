//! The registers of a virtio-mmio device, version 2 (Virtio 1.2, section 4.2.2).

use std::fmt;
use std::sync::Arc;

use guest_ram::GuestRam;
use hv_core::{Device, DeviceAction, DeviceError, IrqLine};
use virtio_bindings::virtio_config::{
    VIRTIO_CONFIG_S_ACKNOWLEDGE, VIRTIO_CONFIG_S_DRIVER, VIRTIO_CONFIG_S_DRIVER_OK, VIRTIO_CONFIG_S_FAILED,
    VIRTIO_CONFIG_S_FEATURES_OK, VIRTIO_CONFIG_S_NEEDS_RESET, VIRTIO_F_VERSION_1,
};
use virtio_bindings::virtio_ids::VIRTIO_ID_BLOCK;
use virtio_bindings::virtio_mmio::{
    VIRTIO_MMIO_CONFIG, VIRTIO_MMIO_DEVICE_FEATURES, VIRTIO_MMIO_DEVICE_FEATURES_SEL, VIRTIO_MMIO_DEVICE_ID,
    VIRTIO_MMIO_DRIVER_FEATURES, VIRTIO_MMIO_DRIVER_FEATURES_SEL, VIRTIO_MMIO_INT_CONFIG,
    VIRTIO_MMIO_INT_VRING, VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INTERRUPT_STATUS, VIRTIO_MMIO_MAGIC_VALUE,
    VIRTIO_MMIO_QUEUE_AVAIL_HIGH, VIRTIO_MMIO_QUEUE_AVAIL_LOW, VIRTIO_MMIO_QUEUE_DESC_HIGH,
    VIRTIO_MMIO_QUEUE_DESC_LOW, VIRTIO_MMIO_QUEUE_NOTIFY, VIRTIO_MMIO_QUEUE_NUM, VIRTIO_MMIO_QUEUE_NUM_MAX,
    VIRTIO_MMIO_QUEUE_READY, VIRTIO_MMIO_QUEUE_SEL, VIRTIO_MMIO_QUEUE_USED_HIGH, VIRTIO_MMIO_QUEUE_USED_LOW,
    VIRTIO_MMIO_SHM_BASE_HIGH, VIRTIO_MMIO_SHM_BASE_LOW, VIRTIO_MMIO_SHM_LEN_HIGH, VIRTIO_MMIO_SHM_LEN_LOW,
    VIRTIO_MMIO_STATUS, VIRTIO_MMIO_VENDOR_ID, VIRTIO_MMIO_VERSION,
};
use virtio_queue::{Queue, QueueOwnedT as _, QueueT as _};
use vm_memory::{Bytes as _, GuestAddress};

use crate::Disk;
use crate::block;
use crate::chain::RequestBuffers;
use crate::config::{Config, QUEUE_SIZE, features};

/// `virt`, little-endian.
const MAGIC: u32 = 0x7472_6976;
/// Version of the registers: not legacy.
const VERSION: u32 = 2;
/// Vendor, which has no meaning on MMIO: `vmbt`, little-endian.
const VENDOR: u32 = 0x7462_6d76;
/// Start of the configuration.
const CONFIG: u64 = 0x100;
const _: () = assert!(VIRTIO_MMIO_CONFIG == 0x100);

/// Bits of the status that the driver sets.
const DRIVER_STATUS: u32 = VIRTIO_CONFIG_S_ACKNOWLEDGE
    | VIRTIO_CONFIG_S_DRIVER
    | VIRTIO_CONFIG_S_DRIVER_OK
    | VIRTIO_CONFIG_S_FEATURES_OK
    | VIRTIO_CONFIG_S_FAILED;

/// Flag in the available ring: the driver wants no interrupts (2.7.6).
const AVAIL_NO_INTERRUPT: u16 = 1;

/// Number of transferred bytes after which an access begins no further request.
const MAX_BYTES: u64 = 4 << 20;
/// Largest number of requests during one access.
const MAX_REQUESTS: u16 = QUEUE_SIZE;

/// A block device with the registers of virtio-mmio, version 2: 512 bytes or more.
///
/// Each access of the guest does a bounded amount of work: requests of at most about 20 MiB. If the queue has more, the device
/// raises an interrupt for what is done, and continues when the driver acknowledges it.
///
/// A request that the device can answer gets a status, whatever is wrong with it. A queue or chain that it cannot answer puts
/// it into the state `DEVICE_NEEDS_RESET` (2.1), in which it ignores the queue until the driver resets it.
pub struct BlockDevice {
    disk: Disk,
    ram: GuestRam,
    irq: Box<dyn IrqLine>,
    config: Config,
    features: u64,
    state: State,
}

/// State that a reset of the device sets back.
struct State {
    queue: Queue,
    /// A size or address of the queue was refused.
    is_queue_invalid: bool,
    device_features_sel: u32,
    driver_features_sel: u32,
    driver_features: u64,
    queue_sel: u32,
    status: u32,
    interrupt_status: u32,
    /// The queue has more requests than the last access carried out.
    has_more: bool,
}

impl State {
    fn new() -> Self {
        Self {
            // The size is a power of two, so the fallback, a queue without descriptors, is not used.
            queue: Queue::new(QUEUE_SIZE).unwrap_or_default(),
            is_queue_invalid: false,
            device_features_sel: 0,
            driver_features_sel: 0,
            driver_features: 0,
            queue_sel: 0,
            status: 0,
            interrupt_status: 0,
            has_more: false,
        }
    }

    fn has(&self, status: u32) -> bool {
        self.status & status == status
    }

    /// The queue that the driver selected: there is one.
    fn selected(&self) -> Option<&Queue> {
        (self.queue_sel == 0).then_some(&self.queue)
    }

    /// Changes the selected queue with `change`, unless it is in use. A value that the queue refuses makes it unusable.
    fn configure(&mut self, change: impl FnOnce(&mut Queue) -> Result<(), virtio_queue::Error>) {
        if self.queue_sel == 0 && !self.queue.ready() && change(&mut self.queue).is_err() {
            self.is_queue_invalid = true;
        }
    }
}

/// `address` with its low or high half replaced.
fn with_half(address: u64, half: Half, value: u32) -> GuestAddress {
    GuestAddress(match half {
        Half::Low => address & !u64::from(u32::MAX) | u64::from(value),
        Half::High => address & u64::from(u32::MAX) | u64::from(value) << 32,
    })
}

#[derive(Clone, Copy)]
enum Half {
    Low,
    High,
}

impl BlockDevice {
    /// A device with `disk`, whose requests refer to `ram`. `irq` is level-triggered.
    #[must_use]
    pub fn new(disk: Disk, ram: GuestRam, irq: Box<dyn IrqLine>) -> Self {
        Self {
            config: Config::of(&disk),
            features: features(&disk),
            state: State::new(),
            disk,
            ram,
            irq,
        }
    }

    /// Whether the device waits for a reset by the driver (`DEVICE_NEEDS_RESET`).
    #[must_use]
    pub fn needs_reset(&self) -> bool {
        self.state.has(VIRTIO_CONFIG_S_NEEDS_RESET)
    }

    fn read_register(&self, offset: u32) -> u32 {
        let state = &self.state;
        match offset {
            VIRTIO_MMIO_MAGIC_VALUE => MAGIC,
            VIRTIO_MMIO_VERSION => VERSION,
            VIRTIO_MMIO_DEVICE_ID => VIRTIO_ID_BLOCK,
            VIRTIO_MMIO_VENDOR_ID => VENDOR,
            VIRTIO_MMIO_DEVICE_FEATURES => word(self.features, state.device_features_sel),
            VIRTIO_MMIO_QUEUE_NUM_MAX => state.selected().map_or(0, |queue| queue.max_size().into()),
            VIRTIO_MMIO_QUEUE_READY => state.selected().is_some_and(Queue::ready).into(),
            VIRTIO_MMIO_INTERRUPT_STATUS => state.interrupt_status,
            VIRTIO_MMIO_STATUS => state.status,
            // There is no shared memory region (4.2.2.1).
            VIRTIO_MMIO_SHM_LEN_LOW
            | VIRTIO_MMIO_SHM_LEN_HIGH
            | VIRTIO_MMIO_SHM_BASE_LOW
            | VIRTIO_MMIO_SHM_BASE_HIGH => u32::MAX,
            // Registers that are write-only or do not exist, and VIRTIO_MMIO_CONFIG_GENERATION: the configuration never changes.
            _ => 0,
        }
    }

    fn write_register(&mut self, offset: u32, value: u32) -> Result<(), DeviceError> {
        let state = &mut self.state;
        match offset {
            VIRTIO_MMIO_DEVICE_FEATURES_SEL => state.device_features_sel = value,
            VIRTIO_MMIO_DRIVER_FEATURES_SEL => state.driver_features_sel = value,
            VIRTIO_MMIO_DRIVER_FEATURES if !state.has(VIRTIO_CONFIG_S_FEATURES_OK) => {
                set_word(&mut state.driver_features, state.driver_features_sel, value);
            }
            VIRTIO_MMIO_QUEUE_SEL => state.queue_sel = value,
            VIRTIO_MMIO_QUEUE_NUM => state.configure(|queue| {
                let size = u16::try_from(value).or(Err(virtio_queue::Error::InvalidSize))?;
                queue.try_set_size(size)
            }),
            VIRTIO_MMIO_QUEUE_DESC_LOW => state.set_desc(Half::Low, value),
            VIRTIO_MMIO_QUEUE_DESC_HIGH => state.set_desc(Half::High, value),
            VIRTIO_MMIO_QUEUE_AVAIL_LOW => state.set_avail(Half::Low, value),
            VIRTIO_MMIO_QUEUE_AVAIL_HIGH => state.set_avail(Half::High, value),
            VIRTIO_MMIO_QUEUE_USED_LOW => state.set_used(Half::Low, value),
            VIRTIO_MMIO_QUEUE_USED_HIGH => state.set_used(Half::High, value),
            VIRTIO_MMIO_QUEUE_READY if state.queue_sel == 0 => {
                state.queue.set_ready(value & 1 != 0 && !state.is_queue_invalid);
                if state.queue.ready() && !state.queue.is_valid(&**self.ram.memory()) {
                    state.queue.set_ready(false);
                }
            }
            VIRTIO_MMIO_QUEUE_NOTIFY if value == 0 => self.carry_out()?,
            VIRTIO_MMIO_INTERRUPT_ACK => {
                state.interrupt_status &= !value;
                if state.interrupt_status == 0 {
                    self.irq.set(false)?;
                }
                if state.has_more {
                    self.carry_out()?;
                }
            }
            VIRTIO_MMIO_STATUS if value == 0 => {
                self.state = State::new();
                self.irq.set(false)?;
            }
            VIRTIO_MMIO_STATUS => self.set_status(value),
            // Other registers are read-only or do not exist.
            _ => {}
        }
        Ok(())
    }

    /// Adds bits to the status. Features that the device does not have, or without `VIRTIO_F_VERSION_1`, are refused: `FEATURES_OK`
    /// stays clear (3.1.1).
    fn set_status(&mut self, value: u32) {
        let state = &mut self.state;
        let mut added = value & DRIVER_STATUS;
        let has_version = state.driver_features & 1 << VIRTIO_F_VERSION_1 != 0;
        if state.driver_features & !self.features != 0 || !has_version {
            added &= !VIRTIO_CONFIG_S_FEATURES_OK;
        }
        state.status |= added;
    }

    /// Carries out requests of the queue, as many as one access may.
    fn carry_out(&mut self) -> Result<(), DeviceError> {
        self.state.has_more = false;
        let is_running = self
            .state
            .has(VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_FEATURES_OK)
            && !self.needs_reset()
            && self.state.queue.ready();
        if !is_running {
            return Ok(());
        }
        let memory = Arc::clone(self.ram.memory());
        let queue = &mut self.state.queue;
        let (mut requests, mut bytes) = (0, 0);
        let is_intact = loop {
            if requests >= MAX_REQUESTS || bytes >= MAX_BYTES {
                self.state.has_more = true;
                break true;
            }
            // The driver may add requests meanwhile.
            let chain = match queue.iter(&*memory) {
                Ok(mut chains) => chains.next(),
                Err(_) => break false,
            };
            let Some(chain) = chain else {
                break true;
            };
            let head = chain.head_index();
            let answered = RequestBuffers::read(chain, &self.ram)
                .and_then(|buffers| block::answer(&mut self.disk, &mut self.ram, &buffers));
            let Ok(answered) = answered else {
                break false;
            };
            if queue.add_used(&*memory, head, answered.written).is_err() {
                break false;
            }
            requests = requests.saturating_add(1);
            bytes = answered.transferred.saturating_add(bytes);
        };
        if !is_intact {
            self.state.status |= VIRTIO_CONFIG_S_NEEDS_RESET;
            return self.interrupt(VIRTIO_MMIO_INT_CONFIG | VIRTIO_MMIO_INT_VRING);
        }
        let flags = memory.read_obj::<u16>(GuestAddress(self.state.queue.avail_ring()));
        let is_wanted = flags.map_or(true, |flags| u16::from_le(flags) & AVAIL_NO_INTERRUPT == 0);
        if requests > 0 && (is_wanted || self.state.has_more) {
            return self.interrupt(VIRTIO_MMIO_INT_VRING);
        }
        Ok(())
    }

    fn interrupt(&mut self, causes: u32) -> Result<(), DeviceError> {
        self.state.interrupt_status |= causes;
        Ok(self.irq.set(true)?)
    }
}

impl State {
    fn set_desc(&mut self, half: Half, value: u32) {
        self.configure(|queue| queue.try_set_desc_table_address(with_half(queue.desc_table(), half, value)));
    }

    fn set_avail(&mut self, half: Half, value: u32) {
        self.configure(|queue| queue.try_set_avail_ring_address(with_half(queue.avail_ring(), half, value)));
    }

    fn set_used(&mut self, half: Half, value: u32) {
        self.configure(|queue| queue.try_set_used_ring_address(with_half(queue.used_ring(), half, value)));
    }
}

/// Word `number` of a set of features: there are two, and the others are zero (4.2.2).
fn word(set: u64, number: u32) -> u32 {
    let word = match number {
        0 => set & u64::from(u32::MAX),
        1 => set >> 32,
        _ => 0,
    };
    // Never the fallback.
    u32::try_from(word).unwrap_or_default()
}

/// Replaces word `number` of a set of features. A word that does not exist is ignored.
fn set_word(set: &mut u64, number: u32, value: u32) {
    let [low, high] = match number {
        0 => [value, word(*set, 1)],
        1 => [word(*set, 0), value],
        _ => return,
    };
    *set = u64::from(high) << 32 | u64::from(low);
}

impl Device for BlockDevice {
    /// Registers have 32 bits; accesses of other widths read as zero and are ignored as writes. The configuration can be read in all
    /// widths.
    fn read(&mut self, offset: u64, data: &mut [u8]) -> Result<(), DeviceError> {
        if let Some(offset) = offset.checked_sub(CONFIG) {
            self.config.read(offset, data);
        } else if let (Ok(data), Ok(offset)) = (<&mut [u8; 4]>::try_from(&mut *data), u32::try_from(offset)) {
            *data = self.read_register(offset).to_le_bytes();
        } else {
            data.fill(0);
        }
        Ok(())
    }

    /// The configuration has no field that drivers write.
    fn write(&mut self, offset: u64, data: &[u8]) -> Result<DeviceAction, DeviceError> {
        if let (Ok(data), Ok(offset)) = (<[u8; 4]>::try_from(data), u32::try_from(offset)) {
            self.write_register(offset, u32::from_le_bytes(data))?;
        }
        Ok(DeviceAction::Continue)
    }
}

impl fmt::Debug for BlockDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockDevice")
            .field("disk", &self.disk)
            .field("status", &self.state.status)
            .finish_non_exhaustive()
    }
}
