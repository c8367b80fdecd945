//! The root file system, with `init.switch_root`: mounts what `root=` names, and starts the system there.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, mount, mount_move};
use rustix::process::{chdir, chroot};

use crate::modules;

/// Where the file system is mounted before it becomes the root.
const NEW_ROOT: &str = "/root";

/// The program that is started.
const INIT: &str = "/sbin/init";

/// How long the device may take to appear.
const PATIENCE: Duration = Duration::from_secs(10);

/// Pause between looks at the devices.
const POLL: Duration = Duration::from_millis(10);

/// Position of the superblock of ext4, and of fields in it (Linux `filesystems/ext4/super.rst`): its length is 1024 bytes.
const SUPERBLOCK: u64 = 1024;
const MAGIC: usize = 0x38;
const UUID: usize = 0x68;

/// What `root=` names.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Root {
    /// A device file.
    Device(PathBuf),
    /// The UUID of an ext4, in lower case.
    Uuid(String),
}

impl Root {
    /// The value of the last `root=` of a command line.
    fn parse(cmdline: &str) -> Option<Self> {
        let words = cmdline.split_ascii_whitespace();
        let value = words.filter_map(|word| word.strip_prefix("root=")).next_back()?;
        Some(match value.strip_prefix("UUID=") {
            Some(uuid) => Self::Uuid(uuid.to_ascii_lowercase()),
            None => Self::Device(value.into()),
        })
    }

    /// Its device file, if it is there.
    fn find(&self) -> Option<PathBuf> {
        match self {
            Self::Device(path) => path.exists().then(|| path.clone()),
            Self::Uuid(uuid) => {
                let devices = fs::read_dir("/sys/class/block").ok()?;
                let mut paths =
                    devices.filter_map(|device| Some(Path::new("/dev").join(device.ok()?.file_name())));
                paths.find(|path| uuid_of(path).is_ok_and(|found| found.as_ref() == Some(uuid)))
            }
        }
    }
}

/// The UUID of the ext4 on a device; `None` if there is none.
fn uuid_of(device: &Path) -> io::Result<Option<String>> {
    let mut superblock = [0; 1024];
    File::open(device)?.read_exact_at(&mut superblock, SUPERBLOCK)?;
    Ok(ext4_uuid(&superblock))
}

fn ext4_uuid(superblock: &[u8; 1024]) -> Option<String> {
    if superblock.get(MAGIC..MAGIC + 2)? != [0x53, 0xef] {
        return None;
    }
    let bytes = superblock.get(UUID..UUID + 16)?;
    let mut uuid = String::new();
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            uuid.push('-');
        }
        // Writing to a string cannot fail.
        let _ = write!(uuid, "{byte:02x}");
    }
    Some(uuid)
}

/// Starts the system on the root file system. Returns only with an error.
pub(crate) fn switch(cmdline: &str) -> io::Error {
    // The value of a successful call is uninhabited.
    match try_switch(cmdline) {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

fn try_switch(cmdline: &str) -> io::Result<std::convert::Infallible> {
    let root = Root::parse(cmdline).ok_or_else(|| io::Error::other("the command line has no root="))?;
    modules::load()?;
    let device = wait_for(&root)?;
    fs::create_dir_all(NEW_ROOT)?;
    mount(&device, NEW_ROOT, "ext4", MountFlags::RDONLY, None)?;
    for directory in ["dev", "proc", "sys"] {
        mount_move(
            Path::new("/").join(directory),
            Path::new(NEW_ROOT).join(directory),
        )?;
    }
    // The files of the initrd would stay in memory.
    fs::remove_dir_all(modules::DIRECTORY)?;
    fs::remove_file("/init")?;
    chdir(NEW_ROOT)?;
    mount_move(".", "/")?;
    chroot(".")?;
    chdir("/")?;
    Err(Command::new(INIT).exec())
}

fn wait_for(root: &Root) -> io::Result<PathBuf> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if let Some(device) = root.find() {
            return Ok(device);
        }
        thread::sleep(POLL);
    }
    Err(io::Error::new(
        io::ErrorKind::NotFound,
        format!("no {root:?} within {} s", PATIENCE.as_secs()),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_root_counts() {
        let check =
            |cmdline: &str, expected: Option<Root>| assert_eq!(Root::parse(cmdline), expected, "{cmdline}");
        check("ro quiet xroot=/dev/vda", None);
        check("root=/dev/vda2 ro\n", Some(Root::Device("/dev/vda2".into())));
        check(
            "root=/dev/vda2 root=UUID=2B1F6A54-6c3e-4b0c-9d53-7c1c4d2ea913",
            Some(Root::Uuid("2b1f6a54-6c3e-4b0c-9d53-7c1c4d2ea913".to_owned())),
        );
    }

    #[test]
    fn an_ext4_has_a_uuid() {
        let mut superblock = [0; 1024];
        assert_eq!(ext4_uuid(&superblock), None);
        superblock[0x38..0x3a].copy_from_slice(&[0x53, 0xef]);
        for (index, byte) in superblock[0x68..0x78].iter_mut().enumerate() {
            *byte = u8::try_from(index * 17).unwrap();
        }
        assert_eq!(
            ext4_uuid(&superblock).unwrap(),
            "00112233-4455-6677-8899-aabbccddeeff"
        );
        assert!(uuid_of(Path::new("/dev/null")).is_err());
    }
}
