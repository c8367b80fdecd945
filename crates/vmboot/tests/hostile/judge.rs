//! What each image must do: an error, or a right load, with bounded memory and work.

mod load;
mod read;

use std::error::Error;
use std::fmt;

use boot_core::{BootPlan, BootProtocol, BootRequest, Cmdline, KernelFormat, Machine, detect};
use boot_test::contract::{linux_x86, multiboot, pvh};
use boot_test::promises;
use fmt_test::{CountingSource, assert_valid_image};
use fmt_wrapped::{Limits, WRAPPERS, Wrapper, open};

use crate::memory::Guarded;
use crate::{heap, machine, pe_load_invariants};
use load::check_load;
use read::{KERNEL_COPIES, LAYER_COPIES, UkiWrapper, check_work};

/// The limits of opened wrappers. All layers, and the growth of the last one to twice its length, stay below [`MAX_HEAP`].
const LIMITS: Limits = Limits {
    layers: 4,
    len: 8 << 20,
};

/// Largest heap of all steps of an image above that at its start, in bytes.
pub(crate) const MAX_HEAP: usize = 64 << 20;

/// Largest number of loads of plans that the slow checks of `boot-test` see: they compare each load with each other.
const MAX_COMPARED: usize = 4096;

/// What became of the images.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    images: usize,
    /// Images with at least one load.
    pub(crate) loaded: usize,
    /// Images without.
    pub(crate) refused: usize,
    /// Loads, of which an image has one for each protocol.
    loads: usize,
    /// Opened layers.
    layers: usize,
    /// Largest heap in bytes.
    heap: usize,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} images: {} loaded ({} loads), {} refused; {} layers opened; {} KiB of heap at most",
            self.images,
            self.loaded,
            self.loads,
            self.refused,
            self.layers,
            self.heap >> 10
        )
    }
}

/// Machines and plugins for all images.
pub(crate) struct Judge {
    machines: Vec<(Machine, Guarded)>,
    formats: Vec<&'static dyn KernelFormat>,
    protocols: Vec<&'static dyn BootProtocol>,
    wrappers: Vec<&'static dyn Wrapper>,
    cmdline: Cmdline,
    initrd: Vec<u8>,
}

impl Judge {
    pub(crate) fn new() -> Self {
        let machines = machine::all().map(|machine| {
            let memory = Guarded::new(&machine.memory);
            (machine, memory)
        });
        Self {
            machines: machines.into(),
            formats: vmboot::formats().unwrap(),
            protocols: vmboot::protocols().unwrap(),
            wrappers: [&UkiWrapper as &dyn Wrapper]
                .into_iter()
                .chain(WRAPPERS)
                .collect(),
            cmdline: "console=ttyS0 root=/dev/vda".parse().unwrap(),
            initrd: (0..0x2345_u32).map(|at| at.to_le_bytes()[0] ^ 0x5a).collect(),
        }
    }

    /// Tries an image.
    ///
    /// # Panics
    ///
    /// If it is neither refused nor loaded as it must be.
    pub(crate) fn check(&mut self, file: &[u8], tally: &mut Tally) {
        let before = tally.loads;
        let heap = heap::peak_of(|| self.check_file(file, tally));
        assert!(heap <= MAX_HEAP, "{heap:#x} bytes of heap");
        tally.heap = tally.heap.max(heap);
        tally.images += 1;
        if tally.loads > before {
            tally.loaded += 1;
        } else {
            tally.refused += 1;
        }
    }

    /// Tries a file, and the content of its last layer.
    fn check_file(&mut self, file: &[u8], tally: &mut Tally) {
        self.check_kernel(file, tally);
        if file.starts_with(b"MZ") {
            pe_load_invariants::check(file, 0x10_0000);
        }
        let source = CountingSource::new(file);
        match open(&source, &self.wrappers, &LIMITS) {
            Ok(layers) => {
                assert!(layers.len() <= LIMITS.layers);
                assert!(layers.iter().all(|layer| layer.content.len() <= LIMITS.len));
                tally.layers += layers.len();
                if let Some(layer) = layers.last() {
                    self.check_kernel(&layer.content, tally);
                }
            }
            Err(error) => check_text(&error),
        }
        check_work(&source, LAYER_COPIES);
    }

    /// Tries a kernel by all protocols.
    fn check_kernel(&mut self, file: &[u8], tally: &mut Tally) {
        let source = CountingSource::new(file);
        let image = detect(&self.formats, &source);
        check_work(&source, KERNEL_COPIES);
        let image = match image {
            Ok(image) => image,
            Err(error) => return check_text(&error),
        };
        assert_valid_image(&image, file.len());
        let (machine, memory) = self
            .machines
            .iter_mut()
            .find(|(machine, _)| machine.arch == image.arch())
            .unwrap();
        for protocol in &self.protocols {
            let request =
                BootRequest::new(&image, machine, &self.cmdline).with_initrd(self.initrd.len() as u64);
            match protocol.plan(&request) {
                Ok(plan) => {
                    check_plan(protocol.name(), &request, &plan);
                    check_load(&plan, [file, &self.initrd], memory, tally.loads);
                    tally.loads += 1;
                }
                Err(error) => check_text(&error),
            }
        }
    }
}

/// An error has a text, and so has each of its causes.
fn check_text(error: &dyn Error) {
    let mut cause = Some(error);
    while let Some(error) = cause {
        assert!(!error.to_string().is_empty());
        cause = error.source();
    }
}

/// Checks a plan by code that is not the planner's.
fn check_plan(protocol: &str, request: &BootRequest<'_>, plan: &BootPlan) {
    assert!(!plan.to_string().is_empty());
    if plan.loads().len() > MAX_COMPARED {
        return;
    }
    let all = |contract: fn(&BootRequest<'_>, &BootPlan) -> Result<(), String>| {
        promises::plan(request, plan).and_then(|()| contract(request, plan))
    };
    let kept = match protocol {
        "linux" => all(linux_x86::check),
        "pvh" => all(pvh::check),
        "multiboot" | "multiboot2" => multiboot::check(request, plan),
        _ => promises::loads(request, plan.loads(), plan.kernel()),
    };
    assert_eq!(kept, Ok(()), "{protocol}: {plan}");
}
