//! Arbitrary bytes as a device path: no panic, and an accepted path can be taken apart and put together again.

#![no_main]

use efi_core::device_path::{DevicePath, DevicePathBuf};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(path) = DevicePath::parse(data) else {
        return;
    };
    assert!(data.starts_with(path.as_bytes()));
    let text = path.to_text();
    assert_eq!(
        text.is_empty(),
        path.nodes().all(|node| node.to_text().is_empty()) && path.nodes().count() < 2
    );
    assert!(path.file_path().len() <= data.len());
    assert_eq!(path.strip_prefix(DevicePath::EMPTY), Some(path));
    let mut again = DevicePathBuf::new();
    for node in path.nodes() {
        if again.push(node.kind, node.subtype, node.data).is_err() {
            // Ends of instances cannot be added as nodes.
            assert!(path.has_instances());
            return;
        }
        let prefix = again.as_path();
        assert_eq!(
            path.strip_prefix(prefix).is_some(),
            !path.has_instances() || !prefix.has_instances()
        );
    }
    assert_eq!(again.as_path(), path);
});
