//! Hashes of types and signatures.

/// Hash of the encoding of a type in postcard's format, without the values. Types whose encodings differ have different hashes, except
/// for collisions of 64 bits.
///
/// A derived implementation covers the names and shapes of fields and variants in order, but not the name of the type.
///
/// ```
/// use sandbox_abi::{Shape, signature};
///
/// assert_eq!(<&str>::HASH, str::HASH);
/// assert_ne!(u32::HASH, i32::HASH);
/// assert_ne!(signature::<(u32, u64), ()>(), signature::<(u64, u32), ()>());
/// ```
pub trait Shape {
    /// The hash.
    const HASH: u64;
}

/// Prime of FNV-1a with 64 bits.
const PRIME: u64 = 0x0100_0000_01b3;
/// Offset basis of FNV-1a with 64 bits.
const BASIS: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a of `bytes`.
#[must_use]
#[expect(clippy::as_conversions, reason = "lossless; `u64::from` is not const")]
const fn fnv(mut hash: u64, mut bytes: &[u8]) -> u64 {
    while let [first, rest @ ..] = bytes {
        hash = (hash ^ *first as u64).wrapping_mul(PRIME);
        bytes = rest;
    }
    hash
}

/// Hash of a name: of a primitive type, a field or a variant.
#[must_use]
pub const fn name(name: &str) -> u64 {
    fnv(BASIS, name.as_bytes())
}

/// Hash of the hash `a`, followed by the hash `b`.
#[must_use]
pub const fn combine(a: u64, b: u64) -> u64 {
    fnv(fnv(BASIS, &a.to_le_bytes()), &b.to_le_bytes())
}

/// Hash of a function: of the tuple of its parameters, and of its result.
#[must_use]
pub const fn signature<Args: Shape + ?Sized, Ret: Shape + ?Sized>() -> u64 {
    combine(Args::HASH, Ret::HASH)
}

macro_rules! shapes {
    ($($type:ty: $name:literal),* $(,)?) => {
        $(impl Shape for $type {
            const HASH: u64 = name($name);
        })*
    };
}

shapes! {
    (): "unit", bool: "bool", char: "char", str: "string", f32: "f32", f64: "f64",
    u8: "u8", u16: "u16", u32: "u32", u64: "u64", u128: "u128",
    i8: "i8", i16: "i16", i32: "i32", i64: "i64", i128: "i128",
    // postcard encodes them as 64 bits.
    usize: "u64", isize: "i64",
}

impl<T: Shape + ?Sized> Shape for &T {
    const HASH: u64 = T::HASH;
}

impl<T: Shape> Shape for [T] {
    const HASH: u64 = combine(name("sequence"), T::HASH);
}

impl<T: Shape, const N: usize> Shape for [T; N] {
    #[expect(
        clippy::as_conversions,
        reason = "`u64::from` is not const, and usize has at most 64 bits"
    )]
    const HASH: u64 = combine(combine(name("array"), N as u64), T::HASH);
}

impl<T: Shape> Shape for Option<T> {
    const HASH: u64 = combine(name("option"), T::HASH);
}

impl<T: Shape, E: Shape> Shape for Result<T, E> {
    const HASH: u64 = combine(combine(name("result"), T::HASH), E::HASH);
}

macro_rules! tuples {
    ($($first:ident $($rest:ident)*)?) => {
        $(
            impl<$first: Shape, $($rest: Shape),*> Shape for ($first, $($rest,)*) {
                const HASH: u64 = {
                    let hash = combine(name("tuple"), $first::HASH);
                    $(let hash = combine(hash, $rest::HASH);)*
                    hash
                };
            }
            tuples!($($rest)*);
        )?
    };
}

tuples!(A B C D E F G H I J K L);

#[cfg(feature = "alloc")]
mod with_alloc {
    use alloc::borrow::{Cow, ToOwned};
    use alloc::boxed::Box;
    use alloc::collections::{BTreeMap, BTreeSet};
    use alloc::string::String;
    use alloc::vec::Vec;

    use super::{Shape, combine, name};

    impl Shape for String {
        const HASH: u64 = str::HASH;
    }

    impl<T: Shape> Shape for Vec<T> {
        const HASH: u64 = <[T]>::HASH;
    }

    impl<T: Shape + ?Sized> Shape for Box<T> {
        const HASH: u64 = T::HASH;
    }

    impl<T: Shape + ToOwned + ?Sized> Shape for Cow<'_, T> {
        const HASH: u64 = T::HASH;
    }

    impl<K: Shape, V: Shape> Shape for BTreeMap<K, V> {
        const HASH: u64 = combine(combine(name("map"), K::HASH), V::HASH);
    }

    impl<T: Shape> Shape for BTreeSet<T> {
        const HASH: u64 = <[T]>::HASH;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_stable() {
        // They are part of every guest's file. The values are those of another implementation of FNV-1a.
        assert_eq!(<()>::HASH, name("unit"));
        assert_eq!(name(""), BASIS);
        assert_eq!(name("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(name("foobar"), 0x8594_4171_f739_67e8);
        assert_eq!(signature::<(u32, u32), u32>(), 0x9d0b_f4ef_47be_b636);
    }

    #[test]
    fn types_of_different_encodings_differ() {
        let hashes = [
            <()>::HASH,
            bool::HASH,
            char::HASH,
            str::HASH,
            f32::HASH,
            f64::HASH,
            u8::HASH,
            u16::HASH,
            u32::HASH,
            u64::HASH,
            u128::HASH,
            i8::HASH,
            i16::HASH,
            i32::HASH,
            i64::HASH,
            i128::HASH,
            <[u8]>::HASH,
            <[u16]>::HASH,
            <[[u8; 2]]>::HASH,
            <[u8; 1]>::HASH,
            <[u8; 2]>::HASH,
            Option::<u8>::HASH,
            Option::<Option<u8>>::HASH,
            Result::<u8, ()>::HASH,
            Result::<(), u8>::HASH,
            <(u8,)>::HASH,
            <(u8, u8)>::HASH,
            <((u8,), u8)>::HASH,
            <(u8, (u8,))>::HASH,
            <(u8, u8, u8)>::HASH,
            <((u8, u8), u8)>::HASH,
        ];
        for (at, hash) in hashes.iter().enumerate() {
            assert!(!hashes[..at].contains(hash), "{at}");
        }
        assert_eq!(usize::HASH, u64::HASH);
    }
}
