//! A disk with a sector in the kernel of its first entry that cannot be read.

use std::fs;

use super::error::FirmwareError;
use super::machine::Disk;
use super::medium::content::BAD_SECTOR;
use super::timeline::Timeline;
use crate::error::{Error, WithPath as _};

/// Makes reads of the bad sector fail on the last disk, which is a medium with a bad entry: the number of the sector. `None` without a disk.
pub(super) fn add(disks: &mut [Disk]) -> Result<Option<u64>, Error> {
    let Some(disk) = disks.last_mut() else {
        return Ok(None);
    };
    let image = fs::read(&disk.image).with_path(&disk.image)?;
    disk.bad_sector = find(&image);
    match disk.bad_sector {
        Some(sector) => Ok(Some(sector)),
        None => Err(FirmwareError::NoBadSector {
            image: disk.image.clone(),
        }
        .into()),
    }
}

fn find(image: &[u8]) -> Option<u64> {
    let mut sectors = (0..).zip(image.chunks_exact(BAD_SECTOR.len()));
    sectors
        .find(|(_, sector)| *sector == BAD_SECTOR)
        .map(|(number, _)| number)
}

/// `Some` with a message unless the firmware has named the sector as the reason to go on with the next entry.
pub(super) fn missing(timeline: &Timeline, sector: u64) -> Option<String> {
    let block = format!("block {sector}: ");
    let lines = timeline.lines();
    let mut failures = lines
        .iter()
        .map(|(_, line)| line)
        .filter(|line| line.contains("bad cannot be booted") || line.contains("bad.conf cannot be booted"));
    match failures.next() {
        Some(line) if line.contains(&block) => None,
        Some(line) => Some(format!(
            "the error of the entry does not name block {sector}: {line}"
        )),
        None => Some("the entry with a kernel that cannot be read was not reported".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_sector_is_found_by_its_content() {
        let mut image = vec![0; 4 * 512];
        assert_eq!(find(&image), None);
        image[1024..1536].copy_from_slice(&BAD_SECTOR);
        assert_eq!(find(&image), Some(2));
    }

    #[test]
    fn the_message_must_name_the_sector() {
        let check = |line: &str, expected: Option<&str>| {
            let mut timeline = Timeline::default();
            timeline.push(line.as_bytes(), Duration::ZERO);
            assert_eq!(missing(&timeline, 77).as_deref(), expected, "{line}");
        };
        let line = "firmware: bad cannot be booted: /bad/linux: block 77: the device reported an error";
        check(line, None);
        let other = line.replace("77", "78");
        let message = format!("the error of the entry does not name block 77: {other}");
        check(&other, Some(&message));
        check(
            "",
            Some("the entry with a kernel that cannot be read was not reported"),
        );
    }
}
