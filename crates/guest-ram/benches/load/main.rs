//! Load time of kernels: this workspace, linux-loader, a plain `pread` and a plain copy from memory.
//!
//! ```text
//! VMBOOT_FIXTURES=DIR cargo bench -p vmboot-guest-ram --bench load
//! ```
//!
//! Criterion measures each method alone. Then a table compares the medians of runs in turns, so that other load on the
//! machine affects all methods alike. The order of a round is a random one, because a method leaves the caches and the free pages of the host
//! in a state that the next one finds.
//!
//! *Fresh* memory is mapped anew for every load; mapping it is not measured. *Warm* memory was written before. Memory
//! is mapped either as this workspace does by default (*huge pages advised*) or without advice (*plain*), which is
//! what `GuestMemoryMmap::from_ranges` does. Loaders are compared on the same kind of memory, and once on their own default:
//! huge pages for this workspace, plain memory for linux-loader.
//!
//! With `VMBOOT_BENCH_ROWS=FILE`, the ratios are also written to the file, one JSON object a line.

mod images;
mod many;
mod methods;
mod random;
mod rows;

use std::env;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput};
use guest_ram::GuestRam;
use methods::{Bench, MEMORIES, METHODS, Method, Pages};
use random::Random;
use rows::Rows;

fn criterion_groups(criterion: &mut Criterion, benches: &mut [Bench]) {
    for bench in benches {
        for pages in MEMORIES {
            let mut group = criterion.benchmark_group(format!("{}/{}", bench.name(), pages.name()));
            group.throughput(Throughput::Bytes(bench.loaded_len()));
            for method in METHODS {
                group.bench_function(format!("fresh/{}", method.name()), |bencher| {
                    bencher.iter_batched(
                        || pages.map(),
                        |mut ram| {
                            bench.load(method, &mut ram);
                            ram
                        },
                        BatchSize::PerIteration,
                    );
                });
                let mut ram = pages.map();
                bench.use_up(&mut ram);
                group.bench_function(format!("warm/{}", method.name()), |bencher| {
                    bencher.iter(|| bench.load(method, black_box(&mut ram)));
                });
            }
        }
    }
}

fn time(bench: &mut Bench, method: Method, ram: &mut GuestRam) -> Duration {
    let start = Instant::now();
    bench.load(method, black_box(ram));
    start.elapsed()
}

fn median(times: &mut [Duration]) -> f64 {
    times.sort();
    times.get(times.len() / 2).map_or(f64::NAN, Duration::as_secs_f64)
}

/// The medians of all methods on one kind of memory, which take turns.
///
/// An untimed load before each of them brings the caches into the same state, as far as one load can, whatever method ran before.
fn medians(bench: &mut Bench, pages: Pages, fresh: bool, rounds: usize) -> [f64; METHODS.len()] {
    let mut times = METHODS.map(|_| Vec::with_capacity(rounds));
    let mut warm = pages.map();
    bench.use_up(&mut warm);
    let mut random = Random::new();
    for _ in 0..rounds {
        for index in random.order::<{ METHODS.len() }>() {
            let method = METHODS[index];
            bench.load(Method::Pread, &mut warm);
            times[index].push(if fresh {
                time(bench, method, &mut pages.map())
            } else {
                time(bench, method, &mut warm)
            });
        }
    }
    times.map(|mut times| median(&mut times))
}

fn print_ratios(benches: &mut [Bench], rows: &mut Rows) {
    const DEFAULT_ROUNDS: usize = 41;
    let rounds = env::var("VMBOOT_BENCH_ROUNDS")
        .ok()
        .and_then(|rounds| rounds.parse().ok());
    let rounds = rounds.unwrap_or(DEFAULT_ROUNDS);
    println!(
        "\nMedians in ms of {rounds} rounds in which all methods take turns in a random order, and their ratios: below 1, this \
         workspace is faster.\n\
         all: parse, plan and load; copy: only the kernel's segments; ll: linux-loader; ll+: and the boot data, too;\n\
         all-1, copy-1 and make-1: on the calling thread alone, as all others are; make: as copy, with userfaultfd; map: as copy, with the file mapped, which was examined before;\n\
         prep: load of a prepared boot"
    );
    print!("{:<18} {:<5} {:<5}", "kernel", "state", "pages");
    for column in [
        "all", "all-1", "load", "copy", "copy-1", "make", "make-1", "map", "prep", "ll", "ll+", "pread",
        "memcpy",
    ] {
        print!(" {column:>7}");
    }
    let ratios = [
        "all/ll",
        "all/ll+",
        "all-1/ll",
        "all-1/ll+",
        "copy/ll",
        "copy-1/ll",
        "make/ll",
        "make-1/ll",
        "copy-1/pread",
        "ll/map",
        "ll+/prep",
    ];
    println!("  {}", ratios.join(" "));
    for bench in benches {
        for fresh in [true, false] {
            let state = if fresh { "fresh" } else { "warm" };
            let results = MEMORIES.map(|pages| medians(bench, pages, fresh, rounds));
            for (pages, medians) in MEMORIES.into_iter().zip(results) {
                print!("{:<18} {state:<5} {:<5}", bench.name(), pages.name());
                for seconds in medians {
                    print!(" {:>7.3}", seconds * 1e3);
                }
                let [
                    all,
                    all_1,
                    _,
                    copy,
                    copy_1,
                    make,
                    make_1,
                    map,
                    prepared,
                    ll,
                    ll_all,
                    pread,
                    _,
                ] = medians;
                let mut add = |what, ratio| {
                    let name = format!("{} {state} {}: {what}", bench.name(), pages.name());
                    rows.add(name, ratio, "of linux-loader");
                };
                add("parse, plan and load", all / ll_all);
                add("copies", copy / ll);
                add("copies on one thread", copy_1 / ll);
                add("copies with userfaultfd", make / ll);
                add("copies with userfaultfd on one thread", make_1 / ll);
                add("map", map / ll);
                add("prepared", prepared / ll_all);
                let values = [
                    all / ll,
                    all / ll_all,
                    all_1 / ll,
                    all_1 / ll_all,
                    copy / ll,
                    copy_1 / ll,
                    make / ll,
                    make_1 / ll,
                    copy_1 / pread,
                    ll / map,
                    ll_all / prepared,
                ];
                print!(" ");
                for (name, value) in ratios.into_iter().zip(values) {
                    print!(" {value:>width$.3}", width = name.len());
                }
                println!();
            }
            let [[ours, ..], [_, _, _, _, _, _, _, _, _, _, theirs, ..]] = results;
            println!(
                "{:<18} {state:<5} as they come, all on huge pages / ll+ on plain ones: {:.3}",
                bench.name(),
                ours / theirs
            );
        }
    }
}

fn main() {
    let mut benches: Vec<Bench> = images::all().into_iter().map(Bench::new).collect();
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
        .configure_from_args();
    criterion_groups(&mut criterion, &mut benches);
    criterion.final_summary();
    // Without measurements when the benches are listed or tested.
    if !env::args().any(|arg| arg == "--list" || arg == "--test") {
        let mut rows = Rows::default();
        print_ratios(&mut benches, &mut rows);
        for bench in &benches {
            many::print(bench.name(), bench.prepared(), &mut rows);
        }
        rows.write();
    }
}
