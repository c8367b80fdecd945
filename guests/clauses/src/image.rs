//! The image itself: its bytes are in place, what has no bytes is zero.
#![expect(
    unsafe_code,
    reason = "the tail must stand in a section of its own, and memory is read as it is"
)]

/// Sixteen pages of constants, each word different: a page that is missing, shifted or there twice shows.
static FILL: [u64; 8192] = fill();
/// The last bytes of the file's last piece. Odd length: a copy in pages or words that forgets the rest shows.
// SAFETY: the linker script places `.tail` behind all other variables and nothing else is in it.
#[cfg_attr(target_os = "none", unsafe(link_section = ".tail"))]
static TAIL: [u8; 4096 + 77] = tail();

const fn word(index: usize) -> u64 {
    (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

const fn tail_byte(index: usize) -> u8 {
    word(index).to_le_bytes()[7] | 1
}

#[expect(clippy::large_stack_arrays, reason = "runs in the compiler alone")]
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

/// Reads `value` from memory, whatever the compiler knows of it.
fn in_memory<T: Copy>(value: &T) -> T {
    // SAFETY: a reference can be read.
    unsafe { core::ptr::from_ref(value).read_volatile() }
}

/// Checks that both patterns stand in memory as the file has them.
pub fn patterns() {
    let wrong = FILL
        .iter()
        .enumerate()
        .find(|(index, stored)| in_memory(*stored) != word(*index));
    check!(
        "image.constants",
        wrong.is_none(),
        "{:#x} at word {}",
        wrong.map_or(0, |(_, stored)| in_memory(stored)),
        wrong.map_or(0, |(index, _)| index);
        "the pattern of the file"
    );
    let wrong = TAIL
        .iter()
        .enumerate()
        .find(|(index, stored)| in_memory(*stored) != tail_byte(*index));
    check!(
        "image.tail",
        wrong.is_none(),
        "{:#x} at byte {} of {}",
        wrong.map_or(0, |(_, stored)| in_memory(stored)),
        wrong.map_or(0, |(index, _)| index),
        TAIL.len();
        "the last bytes of the file"
    );
}

/// Checks that what has no bytes in the file was zero at entry. `dirty` is the offset in the image of the first bytes that
/// were not; all ones if there were none.
pub fn bss(dirty: u64) {
    check!(
        "image.bss",
        dirty == u64::MAX,
        "something else than zeros at offset {dirty:#x} of the image";
        "zeros wherever the file has no bytes"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_patterns_differ_everywhere() {
        assert!(FILL.windows(2).all(|pair| pair[0] != pair[1]) && FILL[0] != 0);
        assert!(TAIL.iter().all(|byte| *byte != 0) && TAIL.len() % 2 == 1);
    }
}
