//! SMBIOS tables of machines.

use std::error::Error;

use boot_core::{Arch, BootProtocol, KernelImage, Machine, RequestPart};
use boot_smbios::{Identity, SmbiosTables};

use super::advised::AdvisedError;

/// The identity of the machine in SMBIOS tables.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct SmbiosArgs {
    /// String in the SMBIOS tables of the machine, by its keyword in dmidecode, such as system-product-name=Example; can be
    /// repeated: bios-vendor, -version and -release-date; system-manufacturer, -product-name, -version, -serial-number, -uuid,
    /// -sku-number and -family; chassis-manufacturer, -version, -serial-number and -asset-tag.
    #[arg(long = "smbios", value_name = "KEYWORD=TEXT", value_parser = string)]
    strings: Vec<(Keyword, String)>,
}

/// A keyword of `dmidecode -s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Keyword(&'static str);

const KEYWORDS: [&str; 14] = [
    "bios-vendor",
    "bios-version",
    "bios-release-date",
    "system-manufacturer",
    "system-product-name",
    "system-version",
    "system-serial-number",
    "system-uuid",
    "system-sku-number",
    "system-family",
    "chassis-manufacturer",
    "chassis-version",
    "chassis-serial-number",
    "chassis-asset-tag",
];

/// Error in `--smbios`.
#[derive(Debug, thiserror::Error)]
enum SmbiosArgError {
    #[error("not a keyword and a text; use one such as system-product-name=Example")]
    Form,
    #[error(
        "{0} is not a keyword of these tables; use one such as bios-vendor, system-product-name or chassis-asset-tag"
    )]
    Keyword(String),
    #[error("{0} is not a UUID; use one such as 01234567-89ab-cdef-0123-456789abcdef")]
    Uuid(String),
}

/// Parses a keyword and its text.
fn string(text: &str) -> Result<(Keyword, String), SmbiosArgError> {
    let (keyword, text) = text.split_once('=').ok_or(SmbiosArgError::Form)?;
    let known = KEYWORDS.into_iter().find(|known| *known == keyword);
    let keyword = Keyword(known.ok_or_else(|| SmbiosArgError::Keyword(keyword.to_owned()))?);
    if keyword.0 == "system-uuid" && uuid(text).is_none() {
        return Err(SmbiosArgError::Uuid(text.to_owned()));
    }
    Ok((keyword, text.to_owned()))
}

/// The bytes of a UUID in the order of its text.
fn uuid(text: &str) -> Option<[u8; 16]> {
    let groups: Vec<usize> = text.split('-').map(str::len).collect();
    let is_hex = text.chars().all(|c| c == '-' || c.is_ascii_hexdigit());
    if groups != [8, 4, 4, 4, 12] || !is_hex {
        return None;
    }
    let number = u128::from_str_radix(&text.replace('-', ""), 16).ok()?;
    Some(number.to_be_bytes())
}

impl SmbiosArgs {
    /// The tables of `machine` if there are strings. A PC gets memory for them, another machine their address, if the protocol hands it over.
    pub(crate) fn describe(
        &self,
        machine: &mut Machine,
        protocol: &dyn BootProtocol,
        image: &KernelImage,
    ) -> Result<Option<SmbiosTables>, Box<dyn Error>> {
        let is_pc = machine.arch == Arch::X86_64;
        if self.strings.is_empty() || !(is_pc || protocol.hands_over(RequestPart::Smbios, image)) {
            return Ok(None);
        }
        if is_pc {
            SmbiosTables::add_pc_memory(&mut machine.memory)?;
        }
        let tables = SmbiosTables::for_machine(&self.identity(), machine)
            .map_err(|error| AdvisedError::new(error, "use other texts in --smbios"))?;
        if !is_pc {
            machine.smbios = Some(tables.entry_point());
        }
        Ok(Some(tables))
    }

    /// The last text of each keyword.
    fn identity(&self) -> Identity {
        let mut identity = Identity::default();
        for (Keyword(keyword), text) in &self.strings {
            let field = match *keyword {
                "bios-vendor" => &mut identity.bios_vendor,
                "bios-version" => &mut identity.bios_version,
                "bios-release-date" => &mut identity.bios_release_date,
                "system-manufacturer" => &mut identity.manufacturer,
                "system-product-name" => &mut identity.product_name,
                "system-version" => &mut identity.version,
                "system-serial-number" => &mut identity.serial_number,
                "system-sku-number" => &mut identity.sku_number,
                "system-family" => &mut identity.family,
                "chassis-manufacturer" => &mut identity.chassis_manufacturer,
                "chassis-version" => &mut identity.chassis_version,
                "chassis-serial-number" => &mut identity.chassis_serial_number,
                "chassis-asset-tag" => &mut identity.chassis_asset_tag,
                _ => {
                    identity.uuid = uuid(text);
                    continue;
                }
            };
            *field = Some(text.clone().into());
        }
        identity
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_keyword_has_a_field() {
        let one = "01234567-89ab-cdef-0123-456789abcdef";
        let args = |keyword: &str| SmbiosArgs {
            strings: vec![string(&format!("{keyword}={one}")).unwrap()],
        };
        let mut seen = vec![Identity::default()];
        for keyword in KEYWORDS {
            let identity = args(keyword).identity();
            assert!(!seen.contains(&identity), "{keyword}");
            seen.push(identity);
        }
        let found = args("system-uuid").identity().uuid;
        assert_eq!(
            found,
            Some(*b"\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef")
        );
    }
}
