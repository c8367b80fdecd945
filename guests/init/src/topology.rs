//! Report on the topology of the CPUs.

use std::fmt;
use std::fs;
use std::path::Path;

/// Directory of the CPUs (Linux `Documentation/ABI/stable/sysfs-devices-system-cpu`).
const DIRECTORY: &str = "/sys/devices/system/cpu";

/// The CPUs of the running kernel in the order of their numbers.
pub(crate) struct TopologyReport {
    cpus: Vec<Cpu>,
}

/// A CPU. Values that cannot be read are printed as unknown.
struct Cpu {
    number: u32,
    /// Identifiers of package and core, and the lists of CPUs that have the package and the core in common.
    values: [Option<String>; 4],
    /// Levels, types and lists of the CPUs of its caches.
    caches: Vec<[Option<String>; 3]>,
}

impl TopologyReport {
    /// Reads the values of the running system.
    pub(crate) fn read() -> Self {
        Self::read_from(Path::new(DIRECTORY))
    }

    fn read_from(directory: &Path) -> Self {
        let mut cpus: Vec<_> = numbered(directory, "cpu")
            .into_iter()
            .map(|number| {
                let cpu = directory.join(format!("cpu{number}"));
                let value = |file| line(&cpu.join("topology").join(file));
                let caches = cpu.join("cache");
                Cpu {
                    number,
                    values: [
                        "physical_package_id",
                        "core_id",
                        "core_siblings_list",
                        "thread_siblings_list",
                    ]
                    .map(value),
                    caches: numbered(&caches, "index")
                        .into_iter()
                        .map(|index| {
                            let cache = caches.join(format!("index{index}"));
                            ["level", "type", "shared_cpu_list"].map(|file| line(&cache.join(file)))
                        })
                        .collect(),
                }
            })
            .collect();
        cpus.sort_by_key(|cpu| cpu.number);
        Self { cpus }
    }
}

/// Numbers of the entries of a directory whose names begin so.
fn numbered(directory: &Path, name: &str) -> Vec<u32> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut numbers: Vec<u32> = entries
        .filter_map(|entry| entry.file_name().to_str()?.strip_prefix(name)?.parse().ok())
        .collect();
    numbers.sort_unstable();
    numbers
}

fn line(file: &Path) -> Option<String> {
    Some(fs::read_to_string(file).ok()?.trim().to_owned())
}

/// One line for each CPU, if there are several.
impl fmt::Display for TopologyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.cpus.len() < 2 {
            return Ok(());
        }
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".to_owned());
        for cpu in &self.cpus {
            let [package, core, of_package, of_core] = cpu.values.each_ref().map(text);
            write!(
                f,
                "cpu {}: package {package} of cpus {of_package}, core {core} of cpus {of_core}",
                cpu.number
            )?;
            for cache in &cpu.caches {
                let [level, kind, of_cache] = cache.each_ref().map(text);
                write!(f, ", L{level} {kind} cache of cpus {of_cache}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_are_the_directories_with_numbers() {
        let directory = std::env::temp_dir().join(format!("init-topology-{}", std::process::id()));
        let add = |path: &str, files: &[(&str, &str)]| {
            let path = directory.join(path);
            fs::create_dir_all(&path).unwrap();
            for (file, text) in files {
                fs::write(path.join(file), text).unwrap();
            }
        };
        let report = || TopologyReport::read_from(&directory).to_string();
        assert_eq!(report(), "");
        add(
            "cpu10/topology",
            &[
                ("physical_package_id", "1\n"),
                ("core_id", "7\n"),
                ("core_siblings_list", "8-10\n"),
                ("thread_siblings_list", "9-10\n"),
            ],
        );
        add("cpufreq", &[]);
        assert_eq!(report(), "");
        add(
            "cpu2/cache/index0",
            &[("level", "1\n"), ("type", "Data\n"), ("shared_cpu_list", "2\n")],
        );
        assert_eq!(
            report(),
            "cpu 2: package unknown of cpus unknown, core unknown of cpus unknown, L1 Data cache of cpus 2\n\
             cpu 10: package 1 of cpus 8-10, core 7 of cpus 9-10\n"
        );
        fs::remove_dir_all(&directory).unwrap();
    }
}
