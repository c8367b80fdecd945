//! Report on the NUMA nodes.

use std::fmt;
use std::fs;
use std::path::Path;

/// Directory of the nodes (Linux `Documentation/ABI/stable/sysfs-devices-node`).
const DIRECTORY: &str = "/sys/devices/system/node";

/// The nodes of the running kernel in the order of their numbers.
pub(crate) struct NumaReport {
    nodes: Vec<Node>,
}

/// A node. Values that cannot be read are printed as unknown.
struct Node {
    number: u32,
    cpus: Option<String>,
    memory_kib: Option<u64>,
    distances: Option<String>,
}

impl NumaReport {
    /// Reads the values of the running system.
    pub(crate) fn read() -> Self {
        Self::read_from(Path::new(DIRECTORY))
    }

    fn read_from(directory: &Path) -> Self {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let mut nodes: Vec<_> = entries
            .filter_map(|entry| {
                let name = entry.file_name();
                let number = name.to_str()?.strip_prefix("node")?.parse().ok()?;
                let line = |file: &str| {
                    let text = fs::read_to_string(entry.path().join(file)).ok()?;
                    Some(text.trim().to_owned())
                };
                Some(Node {
                    number,
                    cpus: line("cpulist"),
                    memory_kib: line("meminfo").and_then(|text| memory_total(&text)),
                    distances: line("distance"),
                })
            })
            .collect();
        nodes.sort_by_key(|node| node.number);
        Self { nodes }
    }
}

/// `MemTotal` in KiB in the `meminfo` of a node.
fn memory_total(meminfo: &str) -> Option<u64> {
    let mut values = meminfo
        .lines()
        .filter_map(|line| line.split_once("MemTotal:").map(|(_, value)| value));
    values.next()?.trim().strip_suffix("kB")?.trim_end().parse().ok()
}

/// One line for each node, if there are several.
impl fmt::Display for NumaReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nodes.len() < 2 {
            return Ok(());
        }
        for node in &self.nodes {
            let text = |value: &Option<String>| match value.as_deref() {
                Some("") => "none".to_owned(),
                Some(value) => value.to_owned(),
                None => "unknown".to_owned(),
            };
            let memory = node
                .memory_kib
                .map_or("unknown".to_owned(), |kib| format!("{kib} KiB"));
            writeln!(
                f,
                "node {}: cpus {}, distances {}, memory {memory}",
                node.number,
                text(&node.cpus),
                text(&node.distances),
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_the_directories_with_numbers() {
        let directory = std::env::temp_dir().join(format!("init-numa-{}", std::process::id()));
        let add = |node: &str, files: &[(&str, &str)]| {
            fs::create_dir_all(directory.join(node)).unwrap();
            for (file, text) in files {
                fs::write(directory.join(node).join(file), text).unwrap();
            }
        };
        let report = || NumaReport::read_from(&directory).to_string();
        assert_eq!(report(), "");
        add(
            "node10",
            &[
                ("cpulist", "\n"),
                ("distance", "20 10\n"),
                (
                    "meminfo",
                    "\nNode 10 MemTotal:         1024 kB\nNode 10 MemFree: 1 kB\n",
                ),
            ],
        );
        add("power", &[]);
        assert_eq!(report(), "");
        add("node2", &[("cpulist", "0-1\n")]);
        assert_eq!(
            report(),
            "node 2: cpus 0-1, distances unknown, memory unknown\n\
             node 10: cpus none, distances 20 10, memory 1024 KiB\n"
        );
        fs::remove_dir_all(&directory).unwrap();
    }
}
