//! Modules in the initrd.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::system::finit_module;

/// Directory of modules in the initrd, which are loaded in the order of their names.
pub(crate) const DIRECTORY: &str = "/modules";

/// `MODULE_INIT_COMPRESSED_FILE` of `include/uapi/linux/module.h`: the kernel decompresses the module.
const COMPRESSED: i32 = 4;

/// Loads the modules in the initrd, if there are any.
pub(crate) fn load() -> io::Result<()> {
    load_from(Path::new(DIRECTORY))
}

/// Loads the modules in a directory, which need not exist.
fn load_from(directory: &Path) -> io::Result<()> {
    for path in sorted(directory)? {
        let file = File::open(&path)?;
        let is_plain = path.extension().is_some_and(|extension| extension == "ko");
        let flags = if is_plain { 0 } else { COMPRESSED };
        match finit_module(&file, &CString::default(), flags) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The entries of a directory in the order of their names; none if it does not exist.
pub(crate) fn sorted(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_modules_may_be_absent() {
        let directory = std::env::temp_dir().join(format!("init-modules-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        assert!(load_from(&directory).is_ok());
        fs::write(directory.join("a.ko"), "no module").unwrap();
        assert!(load_from(&directory).is_err());
        fs::remove_dir_all(&directory).unwrap();
        assert!(load_from(&directory).is_ok());
    }
}
