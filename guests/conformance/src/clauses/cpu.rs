//! Clauses about the CPU at entry: registers, control registers, segments, descriptor table.

use clauses::{check, fail, note, report};
use contract::Entry;

use crate::descriptor::Descriptor;
use crate::machine::entry::{EntryRecord, Probe};
use crate::machine::phys::Phys;
use crate::page_walk::PageTables;

const CR0_PE: u64 = 1 << 0;
/// Extension type: always one on CPUs with long mode, so not a writable bit.
const CR0_ET: u64 = 1 << 4;
const CR0_PG: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;
const FLAG_TF: u64 = 1 << 8;
const FLAG_IF: u64 = 1 << 9;
const FLAG_VM: u64 = 1 << 17;

/// boot.rst: `__BOOT_CS` and `__BOOT_DS`.
const BOOT_CS: u16 = 0x10;
const BOOT_DS: u16 = 0x18;

pub(crate) fn check(record: &EntryRecord, phys: &mut Phys, gdt_required: bool) {
    match record.entry() {
        Entry::Pvh => pvh(record, phys, gdt_required),
        Entry::Linux32 => linux32(record, phys),
        Entry::Multiboot | Entry::Multiboot2 => multiboot(record),
        // `EntryRecord::entry` returns no other value.
        _ => linux64(record, phys),
    }
    report::check_equal("cpu.interrupts-off", record.rflags & FLAG_IF, 0);
    notes(record);
}

/// Xen's pvh.pandoc, "x86/HVM direct boot ABI".
fn pvh(record: &EntryRecord, phys: &mut Phys, gdt_required: bool) {
    report::check_equal("cpu.cr0", record.cr0 & !CR0_ET, CR0_PE);
    report::check_equal("cpu.cr4", record.cr4, 0);
    report::check_equal("cpu.eflags-vm-tf", record.rflags & (FLAG_VM | FLAG_TF), 0);
    probes(record);
    let mut tables = LoaderTables { record, phys };
    for (name, selector, kind) in [
        ("cs", record.cs, Kind::Code32),
        ("ds", record.ds, Kind::Data),
        ("es", record.es, Kind::Data),
        ("ss", record.ss, Kind::Data),
    ] {
        tables.check_descriptor(name, selector, kind, gdt_required);
    }
    tables.check_descriptor("tr", record.tr, Kind::TaskState, gdt_required);
}

/// Multiboot 0.6.96, 3.2, and Multiboot2 2.0, 3.3. The magic number is checked with the information.
fn multiboot(record: &EntryRecord) {
    report::check_equal("cpu.cr0", record.cr0 & (CR0_PE | CR0_PG), CR0_PE);
    report::check_equal("cpu.eflags-vm", record.rflags & FLAG_VM, 0);
    probes(record);
    for (name, probe) in [
        ("cpu.ss-access", record.probe_ss),
        ("cpu.fs-access", record.probe_fs),
        ("cpu.gs-access", record.probe_gs),
    ] {
        check!(name, probe == Probe::GOOD, "{probe}"; "{}", Probe::GOOD);
    }
}

/// boot.rst, "32-bit Boot Protocol".
fn linux32(record: &EntryRecord, phys: &mut Phys) {
    report::check_equal("cpu.cr0", record.cr0 & (CR0_PE | CR0_PG), CR0_PE);
    report::check_equal("cpu.ebp", record.rbp, 0);
    report::check_equal("cpu.edi", record.rdi, 0);
    report::check_equal("cpu.ebx", record.rbx, 0);
    probes(record);
    check!("cpu.ss-access", record.probe_ss == Probe::GOOD, "{}", record.probe_ss; "{}", Probe::GOOD);
    boot_segments(record, phys, Kind::Code32);
}

/// boot.rst, "64-bit Boot Protocol".
fn linux64(record: &EntryRecord, phys: &mut Phys) {
    report::check_equal("cpu.cr0", record.cr0 & (CR0_PE | CR0_PG), CR0_PE | CR0_PG);
    report::check_equal("cpu.cr4-pae", record.cr4 & CR4_PAE, CR4_PAE);
    report::check_equal(
        "cpu.efer-long-mode",
        record.efer & (EFER_LME | EFER_LMA),
        EFER_LME | EFER_LMA,
    );
    boot_segments(record, phys, Kind::Code64);
}

fn boot_segments(record: &EntryRecord, phys: &mut Phys, code: Kind) {
    for (name, found, expected) in [
        ("cpu.cs", record.cs, BOOT_CS),
        ("cpu.ds", record.ds, BOOT_DS),
        ("cpu.es", record.es, BOOT_DS),
        ("cpu.ss", record.ss, BOOT_DS),
    ] {
        report::check_equal(name, found.into(), expected.into());
    }
    let mut tables = LoaderTables { record, phys };
    tables.check_descriptor("boot-cs", BOOT_CS, code, true);
    tables.check_descriptor("boot-ds", BOOT_DS, Kind::Data, true);
}

/// Checks the results of accesses through the segments of the loader.
fn probes(record: &EntryRecord) {
    // The entry code wrote the record through ds.
    report::ok("cpu.ds-access");
    for (name, probe) in [
        ("cpu.cs-access", record.probe_cs),
        ("cpu.es-access", record.probe_es),
        ("cpu.es-write", record.probe_es_write),
    ] {
        check!(name, probe == Probe::GOOD, "{probe}"; "{}", Probe::GOOD);
    }
    for (name, probe) in [
        ("cpu.cs-limit", record.probe_cs_limit),
        ("cpu.ds-limit", record.probe_ds_limit),
        ("cpu.es-limit", record.probe_es_limit),
    ] {
        if probe == Probe::UNTRIED {
            note!(name, "not tested: this CPU has no clflush");
        } else {
            check!(name, probe == Probe::GOOD, "{probe} at 0xffffffc0"; "a limit of 4 GiB");
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Code32,
    Code64,
    Data,
    TaskState,
}

impl Kind {
    const fn description(self) -> &'static str {
        match self {
            Self::Code32 => "flat readable 32-bit code",
            Self::Code64 => "flat readable 64-bit code",
            Self::Data => "flat writable data",
            Self::TaskState => "a 32-bit task state segment with base 0 and limit 0x67",
        }
    }

    fn fits(self, found: Descriptor) -> bool {
        match self {
            Self::Code32 => {
                found.is_flat() && found.is_readable_code() && found.is_32_bit() && !found.is_long()
            }
            Self::Code64 => found.is_flat() && found.is_readable_code() && found.is_long(),
            Self::Data => found.is_flat() && found.is_writable_data() && found.is_32_bit(),
            Self::TaskState => found.is_task_state_32() && found.base() == 0 && found.limit() == 0x67,
        }
    }
}

struct LoaderTables<'a> {
    record: &'a EntryRecord,
    phys: &'a mut Phys,
}

impl LoaderTables<'_> {
    /// Checks the descriptor of `selector`. A missing descriptor is a failure only if it is `required`: the PVH ABI specifies the
    /// segment registers but not the table in memory.
    fn check_descriptor(&mut self, name: &str, selector: u16, kind: Kind, required: bool) {
        let name = format_args!("gdt.{name}");
        match self.descriptor(selector) {
            Some(found) => check!(name, kind.fits(found), "{found}"; "{}", kind.description()),
            None if required => {
                let (base, limit) = self.record.gdt();
                fail!(name, "no entry for selector {selector:#x} in the table at {base:#x}, limit {limit:#x}";
                    "{}", kind.description());
            }
            None => note!(name, "selector {selector:#x} has no entry in the table"),
        }
    }

    fn descriptor(&mut self, selector: u16) -> Option<Descriptor> {
        let (base, limit) = self.record.gdt();
        let offset = selector & !0b111;
        // Neither the null selector nor a selector of the LDT has an entry in the GDT.
        if offset == 0 || selector & 0b100 != 0 || offset.checked_add(7)? > limit {
            return None;
        }
        let linear = base.checked_add(offset.into())?;
        let physical = if self.record.cr0 & CR0_PG == 0 {
            linear
        } else {
            let tables = PageTables::from_registers(self.record.cr3, self.record.cr4);
            tables
                .walk(linear, &mut |at| self.phys.read_u64(at))
                .ok()?
                .physical
        };
        Some(Descriptor(self.phys.read_u64(physical)))
    }
}

/// Prints the registers as notes.
fn notes(record: &EntryRecord) {
    let EntryRecord {
        cr0,
        cr3,
        cr4,
        efer,
        rflags,
        ..
    } = *record;
    note!(
        "cpu.control",
        "cr0={cr0:#x} cr3={cr3:#x} cr4={cr4:#x} efer={efer:#x} flags={rflags:#x}"
    );
    let EntryRecord {
        rax,
        rbx,
        rcx,
        rdx,
        rsp,
        rbp,
        rsi,
        rdi,
        r8,
        ..
    } = *record;
    note!(
        "cpu.registers",
        "ax={rax:#x} bx={rbx:#x} cx={rcx:#x} dx={rdx:#x} sp={rsp:#x} bp={rbp:#x} si={rsi:#x} di={rdi:#x} r8={r8:#x}"
    );
    let EntryRecord {
        cs,
        ds,
        es,
        fs,
        gs,
        ss,
        tr,
        ldtr,
        ..
    } = *record;
    note!(
        "cpu.selectors",
        "cs={cs:#x} ds={ds:#x} es={es:#x} fs={fs:#x} gs={gs:#x} ss={ss:#x} tr={tr:#x} ldtr={ldtr:#x}"
    );
    let ((gdt, gdt_limit), (idt, idt_limit)) = (record.gdt(), record.idt());
    note!(
        "cpu.tables",
        "gdt={gdt:#x}+{gdt_limit:#x} idt={idt:#x}+{idt_limit:#x}"
    );
}
