//! Arbitrary drivers: no sequence of register accesses and no contents of the queue make the block device of `hv-virtio` panic or take
//! memory without bound, and after a reset it works.

#![no_main]

use hv_virtio as _;
use libfuzzer_sys::fuzz_target;

#[expect(dead_code, reason = "scripts use some of the driver only")]
#[path = "../../crates/hv-virtio/tests/device/driver.rs"]
mod driver;
#[path = "../../crates/hv-virtio/tests/device/script.rs"]
mod script;

fuzz_target!(|data: &[u8]| script::run(data));
