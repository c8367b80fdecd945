//! The driver model, with drivers that are functions of the test.
#![expect(unsafe_code, reason = "services are called by their pointers")]

use std::cell::Cell;
use std::ffi::c_void;
use std::ptr::{from_ref, null, null_mut};
use std::sync::Mutex;
use std::sync::atomic::{AtomicPtr, Ordering};

use efi_abi::Guid;
use efi_abi::guids::DRIVER_BINDING;
use efi_abi::raw::protocol::device_path::DevicePathProtocol;
use efi_abi::raw::protocol::driver::DriverBindingProtocol as Binding;
use efi_abi::raw::table::boot::{BootServices, InterfaceType, OpenProtocolInformationEntry};
use efi_abi::raw::{Boolean, Handle, Status};
use efi_core::guid;

use crate::machine::Machine;

/// The protocol of the device that the bus driver uses, and of its child.
const DEVICE: Guid = guid!("11111111-2222-3333-4444-000000000001");
const CHILD: Guid = guid!("11111111-2222-3333-4444-000000000002");

const BY_CHILD: u32 = 8;
const BY_DRIVER: u32 = 0x10;
const EXCLUSIVE: u32 = 0x20;

/// The boot services of the machine of the test: drivers find them as images do, from their entry point.
static BOOT: AtomicPtr<BootServices> = AtomicPtr::new(null_mut());
/// What drivers did.
static LOG: Mutex<Vec<String>> = Mutex::new(Vec::new());
/// Handle of the child that the bus driver has made, or null.
static MADE: AtomicPtr<c_void> = AtomicPtr::new(null_mut());

fn boot() -> &'static BootServices {
    // SAFETY: the machine of the test lives as long as its drivers are called.
    unsafe { &*BOOT.load(Ordering::Relaxed) }
}

fn log(text: String) {
    LOG.lock().unwrap().push(text);
}

fn taken() -> Vec<String> {
    std::mem::take(&mut *LOG.lock().unwrap())
}

/// A driver with its number, which is its version.
#[repr(C)]
struct Driver {
    binding: Binding,
    uses: Guid,
    is_bus: bool,
    stops: Cell<bool>,
}

impl Driver {
    fn new(uses: Guid, version: u32, is_bus: bool) -> Self {
        let binding = Binding {
            supported,
            start,
            stop,
            version,
            image_handle: null_mut(),
            driver_binding_handle: null_mut(),
        };
        Self {
            binding,
            uses,
            is_bus,
            stops: Cell::new(true),
        }
    }

    /// Installs the driver on a handle of its own.
    fn install(&mut self) -> Handle {
        let handle = install(null_mut(), &DRIVER_BINDING, from_ref(&self.binding).cast());
        self.binding.driver_binding_handle = handle;
        handle
    }

    /// # Safety
    ///
    /// `this` is the binding of a driver.
    unsafe fn of<'a>(this: *const Binding) -> &'a Self {
        // SAFETY: the binding is the first field.
        unsafe { &*this.cast::<Self>() }
    }

    fn open(&self, handle: Handle, user: Handle, attributes: u32) -> Status {
        let agent = self.binding.driver_binding_handle;
        let mut interface = null_mut();
        // SAFETY: the pointers are valid.
        unsafe {
            (boot().open_protocol)(
                handle,
                &raw const self.uses,
                &raw mut interface,
                agent,
                user,
                attributes,
            )
        }
    }
}

fn install(mut handle: Handle, protocol: &Guid, interface: *const c_void) -> Handle {
    let native = InterfaceType::NATIVE_INTERFACE;
    // SAFETY: the pointers are valid.
    let status = unsafe { (boot().install_protocol_interface)(&raw mut handle, protocol, native, interface) };
    assert_eq!(status, Status::SUCCESS);
    handle
}

unsafe extern "efiapi" fn supported(
    this: *const Binding,
    controller: Handle,
    rest: *const DevicePathProtocol,
) -> Status {
    // SAFETY: the firmware passes the interface.
    let driver = unsafe { Driver::of(this) };
    let test = driver.open(controller, controller, BY_DRIVER);
    log(format!(
        "supported {}{}",
        driver.binding.version,
        if rest.is_null() { "" } else { " path" }
    ));
    if test == Status::SUCCESS {
        close(controller, driver, controller);
    }
    test
}

fn close(controller: Handle, driver: &Driver, user: Handle) {
    // SAFETY: the pointer is valid.
    let status = unsafe {
        (boot().close_protocol)(
            controller,
            &raw const driver.uses,
            driver.binding.driver_binding_handle,
            user,
        )
    };
    assert_eq!(status, Status::SUCCESS);
}

unsafe extern "efiapi" fn start(
    this: *const Binding,
    controller: Handle,
    _: *const DevicePathProtocol,
) -> Status {
    // SAFETY: the firmware passes the interface.
    let driver = unsafe { Driver::of(this) };
    log(format!("start {}", driver.binding.version));
    let status = driver.open(controller, controller, BY_DRIVER);
    if status == Status::SUCCESS && driver.is_bus {
        let child = install(null_mut(), &CHILD, from_ref(&MADE).cast());
        MADE.store(child, Ordering::Relaxed);
        assert_eq!(driver.open(controller, child, BY_CHILD), Status::SUCCESS);
    }
    status
}

unsafe extern "efiapi" fn stop(
    this: *const Binding,
    controller: Handle,
    count: usize,
    children: *const Handle,
) -> Status {
    // SAFETY: the firmware passes the interface.
    let driver = unsafe { Driver::of(this) };
    log(format!("stop {} {count}", driver.binding.version));
    if !driver.stops.get() {
        return Status::DEVICE_ERROR;
    }
    if count == 0 {
        close(controller, driver, controller);
        return Status::SUCCESS;
    }
    // SAFETY: the firmware passes this many children.
    let child = unsafe { *children };
    assert_eq!((count, child), (1, MADE.load(Ordering::Relaxed)));
    close(controller, driver, child);
    // SAFETY: the pointers are valid. The driver of the child is stopped by this.
    let status = unsafe { (boot().uninstall_protocol_interface)(child, &CHILD, from_ref(&MADE).cast()) };
    if status == Status::SUCCESS {
        MADE.store(null_mut(), Ordering::Relaxed);
    }
    status
}

/// A machine with a device: its handle.
fn machine() -> (Machine, Handle) {
    let machine = Machine::new();
    BOOT.store(machine.system().boot_services, Ordering::Relaxed);
    taken();
    MADE.store(null_mut(), Ordering::Relaxed);
    let device = install(null_mut(), &DEVICE, from_ref(&LOG).cast());
    (machine, device)
}

fn connect(controller: Handle, named: *const Handle, recursive: bool) -> Status {
    // SAFETY: the list ends with null.
    unsafe { (boot().connect_controller)(controller, named, null(), Boolean::from(recursive)) }
}

fn disconnect(controller: Handle, driver: Handle, child: Handle) -> Status {
    // SAFETY: no pointers.
    unsafe { (boot().disconnect_controller)(controller, driver, child) }
}

/// Agents of the protocol of the device and their attributes.
fn opens(device: Handle) -> Vec<(Handle, u32)> {
    let (mut entries, mut count) = (null_mut::<OpenProtocolInformationEntry>(), 0);
    // SAFETY: the pointers are valid.
    let status =
        unsafe { (boot().open_protocol_information)(device, &DEVICE, &raw mut entries, &raw mut count) };
    assert_eq!(status, Status::SUCCESS);
    // SAFETY: the buffer has this many entries.
    let found = (0..count).map(|index| unsafe { (*entries.add(index)).agent_handle });
    // SAFETY: as above.
    let attributes = (0..count).map(|index| unsafe { (*entries.add(index)).attributes });
    let found = found.zip(attributes).collect();
    // SAFETY: the buffer is one of the pool.
    assert_eq!(unsafe { (boot().free_pool)(entries.cast()) }, Status::SUCCESS);
    found
}

#[test]
fn drivers_are_connected_in_the_order_of_the_specification() {
    let (_machine, device) = machine();
    assert_eq!(
        connect(device, null(), true),
        Status::NOT_FOUND,
        "no driver at all"
    );
    assert_eq!(connect(null_mut(), null(), true), Status::INVALID_PARAMETER);
    let mut old = Driver::new(DEVICE, 1, false);
    let mut bus = Driver::new(DEVICE, 2, true);
    let mut function = Driver::new(CHILD, 3, false);
    let (old_handle, bus_handle, _) = (old.install(), bus.install(), function.install());

    assert_eq!(connect(device, null(), false), Status::SUCCESS);
    let order = [
        "supported 3",
        "supported 2",
        "start 2",
        "supported 3",
        "supported 1",
    ];
    assert_eq!(taken(), order);
    let child = MADE.load(Ordering::Relaxed);
    assert_eq!(opens(device), [(bus_handle, BY_DRIVER), (bus_handle, BY_CHILD)]);
    // The device has its driver; its children are connected as well.
    assert_eq!(connect(device, null(), true), Status::NOT_FOUND);
    let order = [
        "supported 3",
        "supported 2",
        "supported 1",
        "supported 3",
        "start 3",
    ];
    assert_eq!(taken()[..5], order);
    let end = [0x7f_u8, 0xff, 4, 0];
    // SAFETY: the path is an end node.
    let status = unsafe { (boot().connect_controller)(device, null(), end.as_ptr().cast(), Boolean::FALSE) };
    assert_eq!(status, Status::SUCCESS, "no child is asked for");
    assert_eq!(taken()[0], "supported 3 path");

    assert_eq!(disconnect(device, device, null_mut()), Status::INVALID_PARAMETER);
    assert_eq!(
        disconnect(device, old_handle, null_mut()),
        Status::SUCCESS,
        "not managed"
    );
    assert_eq!(
        disconnect(device, null_mut(), null_mut::<c_void>().wrapping_add(8)),
        Status::INVALID_PARAMETER
    );
    assert_eq!(
        disconnect(device, null_mut(), device),
        Status::NOT_FOUND,
        "not a child"
    );
    assert_eq!(taken(), [""; 0]);
    // The only child goes, and the driver with it; the driver of the child is stopped first.
    assert_eq!(disconnect(device, bus_handle, child), Status::SUCCESS);
    assert_eq!(taken(), ["stop 2 1", "stop 3 0", "stop 2 0"]);
    assert_eq!(opens(device), []);
    assert_eq!(disconnect(device, null_mut(), null_mut()), Status::SUCCESS);

    // A driver that is named comes before those with higher versions.
    let named = [old_handle, null_mut()];
    assert_eq!(connect(device, named.as_ptr(), false), Status::SUCCESS);
    assert_eq!(taken()[..2], ["supported 1", "start 1"]);
    assert_eq!(opens(device), [(old_handle, BY_DRIVER)]);
}

#[test]
fn drivers_give_way_to_exclusive_users_and_removed_protocols() {
    let (_machine, device) = machine();
    let mut driver = Driver::new(DEVICE, 1, false);
    let driver_handle = driver.install();
    let user = install(null_mut(), &CHILD, null());
    let interface = from_ref(&LOG).cast();
    assert_eq!(connect(device, null(), true), Status::SUCCESS);
    let open = |agent: Handle, attributes: u32| {
        let mut found = null_mut();
        // SAFETY: the pointers are valid.
        let status =
            unsafe { (boot().open_protocol)(device, &DEVICE, &raw mut found, agent, device, attributes) };
        (status, found.cast_const() == interface)
    };
    assert_eq!(open(driver_handle, BY_DRIVER), (Status::ALREADY_STARTED, true));
    assert_eq!(open(user, BY_DRIVER), (Status::ACCESS_DENIED, false));
    taken();
    assert_eq!(open(user, EXCLUSIVE), (Status::SUCCESS, true));
    assert_eq!(taken(), ["stop 1 0"]);
    assert_eq!(open(driver_handle, EXCLUSIVE), (Status::ACCESS_DENIED, false));
    assert_eq!(connect(device, null(), true), Status::NOT_FOUND);
    // SAFETY: the pointers are valid.
    let uninstall = || unsafe { (boot().uninstall_protocol_interface)(device, &DEVICE, interface) };
    assert_eq!(
        uninstall(),
        Status::ACCESS_DENIED,
        "an exclusive user does not give way"
    );
    // SAFETY: the pointer is valid.
    let closed = unsafe { (boot().close_protocol)(device, &DEVICE, user, device) };
    assert_eq!(closed, Status::SUCCESS);
    assert_eq!(connect(device, null(), true), Status::SUCCESS);
    taken();

    // A replaced interface: the driver is stopped and started.
    let new = from_ref(&MADE).cast();
    // SAFETY: the pointers are valid.
    let replace = |old, new| unsafe { (boot().reinstall_protocol_interface)(device, &DEVICE, old, new) };
    assert_eq!(replace(new, interface), Status::NOT_FOUND);
    assert_eq!(taken(), [""; 0], "a wrong interface stops no driver");
    assert_eq!(replace(interface, interface), Status::SUCCESS);
    assert_eq!(taken()[..3], ["stop 1 0", "supported 1", "start 1"]);

    // A driver that does not stop keeps the protocol.
    driver.stops.set(false);
    assert_eq!(uninstall(), Status::ACCESS_DENIED);
    assert_eq!(disconnect(device, null_mut(), null_mut()), Status::DEVICE_ERROR);
    assert_eq!(opens(device), [(driver_handle, BY_DRIVER)]);
    driver.stops.set(true);
    assert_eq!(uninstall(), Status::SUCCESS);
    assert_eq!(
        disconnect(device, null_mut(), null_mut()),
        Status::INVALID_PARAMETER
    );
}
