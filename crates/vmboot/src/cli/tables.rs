//! The tables that describe a machine to its guest, as loads of a plan.

use std::error::Error;

use boot_acpi::{AcpiError, AcpiTables, MpTables, Pc};
use boot_core::{AdditionalLoad, BootProtocol, BootRequest, KernelImage, Machine};
use boot_smbios::SmbiosTables;

use super::acpi;
use super::advised::AdvisedError;
use super::machine::MachineArgs;

/// The tables of a machine.
pub(crate) struct Tables {
    pub(crate) acpi: Option<AcpiTables>,
    mp: Option<MpTables>,
    smbios: Option<SmbiosTables>,
}

impl Tables {
    /// The tables that the user wants and the protocol hands over. Their addresses are those of `machine` afterwards.
    pub(crate) fn describe(
        options: &MachineArgs,
        machine: &mut Machine,
        protocol: &dyn BootProtocol,
        image: &KernelImage,
    ) -> Result<Self, Box<dyn Error>> {
        let acpi = acpi::describe(options, machine, protocol, image)?;
        let mp = match options.mp_table.then(|| MpTables::new(machine, &Pc::default())) {
            Some(tables) => Some(tables.map_err(|error| AdvisedError::new(error, mp_help(&error)))?),
            None => None,
        };
        // The others keep clear of the ACPI tables, which are in RAM that is free so far.
        let mut without_acpi = machine.clone();
        if let Some(tables) = &acpi {
            let kind = boot_core::RegionKind::AcpiReclaimable;
            without_acpi.memory.reserve(tables.range(), kind)?;
        }
        let smbios = options.smbios.describe(&mut without_acpi, protocol, image)?;
        if let Some(tables) = &smbios {
            if without_acpi.smbios.is_some() {
                machine.smbios = Some(tables.entry_point());
            } else {
                SmbiosTables::add_pc_memory(&mut machine.memory)?;
            }
        }
        Ok(Self { acpi, mp, smbios })
    }

    /// The loads of all tables.
    pub(crate) fn loads(&self) -> Vec<AdditionalLoad<'_>> {
        let acpi = self.acpi.as_ref().map(AcpiTables::load);
        acpi.into_iter()
            .chain(self.mp.as_ref().map(MpTables::load))
            .chain(self.smbios.as_ref().map(SmbiosTables::load))
            .collect()
    }
}

/// What to do about MP tables that cannot be created.
fn mp_help(error: &AcpiError) -> String {
    match error {
        AcpiError::TooManyCpus { max, .. } => {
            format!("use at most --vcpus {max}, or omit --no-acpi and --mp-table")
        }
        _ => "omit --mp-table".to_owned(),
    }
}

/// Whether `request` can be planned on another machine, with the tables of that machine.
pub(crate) fn can_plan(
    options: &MachineArgs,
    mut machine: Machine,
    protocol: &dyn BootProtocol,
    request: &BootRequest<'_>,
) -> bool {
    let Ok(tables) = Tables::describe(options, &mut machine, protocol, request.image) else {
        return false;
    };
    let loads = tables.loads();
    let mut other = *request;
    other.machine = &machine;
    other.additional_loads = &loads;
    protocol.plan(&other).is_ok()
}
