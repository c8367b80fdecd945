//! Clauses about the program's own image: loaded bytes and zeroed memory.
#![expect(
    unsafe_code,
    reason = "the tail needs a section of its own, and memory is read by volatile accesses"
)]

/// Sixteen pages of constants, each word different, to detect missing, shifted and duplicate pages.
static FILL: [u64; 8192] = fill();
/// The last bytes of the last segment in the file. The odd length detects a copy in whole pages or words that omits the rest.
// SAFETY: the linker script places `.tail` after all other variables, and this variable is its only content.
#[cfg_attr(target_os = "none", unsafe(link_section = ".tail"))]
static TAIL: [u8; 4096 + 77] = tail();

const fn word(index: usize) -> u64 {
    (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

const fn tail_byte(index: usize) -> u8 {
    word(index).to_le_bytes()[7] | 1
}

#[expect(clippy::large_stack_arrays, reason = "evaluated at compile time")]
const fn fill() -> [u64; 8192] {
    let mut fill = [0; 8192];
    let mut index = 0;
    while index < fill.len() {
        fill[index] = word(index);
        index += 1;
    }
    fill
}

const fn tail() -> [u8; 4096 + 77] {
    let mut tail = [0; 4096 + 77];
    let mut index = 0;
    while index < tail.len() {
        tail[index] = tail_byte(index);
        index += 1;
    }
    tail
}

/// Reads `value` from memory, even if its value is known at compile time.
fn read_volatile<T: Copy>(value: &T) -> T {
    // SAFETY: a reference is valid for reads.
    unsafe { core::ptr::from_ref(value).read_volatile() }
}

/// Checks that both patterns are in memory, unchanged.
pub fn patterns() {
    let wrong = FILL
        .iter()
        .enumerate()
        .find(|(index, stored)| read_volatile(*stored) != word(*index));
    check!(
        "image.constants",
        wrong.is_none(),
        "{:#x} at word {}",
        wrong.map_or(0, |(_, stored)| read_volatile(stored)),
        wrong.map_or(0, |(index, _)| index);
        "the pattern of the file"
    );
    let wrong = TAIL
        .iter()
        .enumerate()
        .find(|(index, stored)| read_volatile(*stored) != tail_byte(*index));
    check!(
        "image.tail",
        wrong.is_none(),
        "{:#x} at byte {} of {}",
        wrong.map_or(0, |(_, stored)| read_volatile(stored)),
        wrong.map_or(0, |(index, _)| index),
        TAIL.len();
        "the last bytes of the file"
    );
}

/// Checks that memory of the image without content in the file was zero at entry. `dirty` is the offset in the image of the
/// first nonzero bytes; all ones if there are none.
pub fn bss(dirty: u64) {
    check!(
        "image.bss",
        dirty == u64::MAX,
        "nonzero bytes at offset {dirty:#x} of the image";
        "zeros where the file has no content"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_words_of_the_patterns_differ() {
        assert!(FILL.windows(2).all(|pair| pair[0] != pair[1]) && FILL[0] != 0);
        assert!(TAIL.iter().all(|byte| *byte != 0) && TAIL.len() % 2 == 1);
    }
}
