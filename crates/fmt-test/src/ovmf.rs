//! Writer of OVMF images: as many pages as a test needs, with the table at their end and the SEV metadata, independent of the
//! parser.

/// An image under construction.
#[derive(Clone, Debug)]
pub struct Firmware {
    /// Filled by the test; the table is written over its end.
    pub bytes: Vec<u8>,
    /// GUIDs and data, in the order of the file.
    pub table: Vec<([u8; 16], Vec<u8>)>,
    /// Address, length and kind.
    pub sections: Vec<(u32, u32, u32)>,
    /// `version` of the metadata.
    pub version: u32,
}

/// The bytes of a GUID from its text.
///
/// # Panics
///
/// For a text that is no GUID.
#[must_use]
pub fn guid(text: &str) -> [u8; 16] {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'-').collect();
    let mut bytes: Vec<u8> = digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    bytes[..4].reverse();
    bytes[4..6].reverse();
    bytes[6..8].reverse();
    bytes.try_into().unwrap()
}

/// GUID of the table itself.
pub const FOOTER: &str = "96b582de-1fb2-45f7-baea-a366c55a082d";
/// GUID of the entry for the table of hashes.
pub const HASH_TABLE: &str = "7255371f-3a3b-4b04-927b-1da6efa8d454";
/// GUID of the entry for the reset block.
pub const RESET_BLOCK: &str = "00f771de-1a7e-4fcb-890e-68c77e2fb44e";
/// GUID of the entry for the metadata.
pub const METADATA: &str = "dc886566-984a-4798-a75e-5585a7bf67cc";
/// An entry that launches do not use (`SEV_SECRET`).
const SECRET: &str = "4c2eb361-7d9b-4cc3-8081-127c90d3d294";

/// Distance of the metadata from the end of the file in bytes.
pub const METADATA_OFFSET: u32 = 0x400;

impl Firmware {
    /// An image of these bytes with all entries, and a section of each kind.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        let le = |number: u32| number.to_le_bytes().to_vec();
        Self {
            bytes,
            table: vec![
                (guid(SECRET), vec![0; 8]),
                (guid(HASH_TABLE), [le(0x81_0c00), le(0x400)].concat()),
                (guid(METADATA), le(METADATA_OFFSET)),
                (guid(RESET_BLOCK), le(0x0080_b004)),
            ],
            sections: vec![
                (0x80_0000, 0x9000, 1),
                (0x80_d000, 0x1000, 2),
                (0x80_e000, 0x1000, 3),
                (0x80_f000, 0x1000, 4),
                (0x81_0000, 0x1000, 0x10),
                (0x81_1000, 0xf000, 1),
            ],
            version: 1,
        }
    }

    /// The file.
    ///
    /// # Panics
    ///
    /// For an image that is too short for table and metadata.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let mut table = Vec::new();
        for (guid, data) in &self.table {
            table.extend_from_slice(data);
            let size = u16::try_from(data.len() + 18).unwrap();
            table.extend(size.to_le_bytes());
            table.extend(guid);
        }
        let size = u16::try_from(table.len() + 18).unwrap();
        table.extend(size.to_le_bytes());
        table.extend(guid(FOOTER));
        let mut metadata = b"ASEV".to_vec();
        let count = u32::try_from(self.sections.len()).unwrap();
        for number in [16 + 12 * count, self.version, count] {
            metadata.extend(number.to_le_bytes());
        }
        for number in self
            .sections
            .iter()
            .flat_map(|(gpa, size, kind)| [gpa, size, kind])
        {
            metadata.extend(number.to_le_bytes());
        }
        let mut file = self.bytes.clone();
        let end = file.len() - 32;
        file[end - table.len()..end].copy_from_slice(&table);
        let at = file.len() - usize::try_from(METADATA_OFFSET).unwrap();
        file[at..at + metadata.len()].copy_from_slice(&metadata);
        file
    }
}
