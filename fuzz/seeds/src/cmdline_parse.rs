//! Command lines: accepted ones with every kind of word, and one for each kind of error.

use crate::Seed;

const LINES: [(&str, &[u8]); 14] = [
    ("empty", b""),
    ("flags", b"quiet ro"),
    ("values", b"console=ttyS0,115200 root=/dev/vda1 a==b =c"),
    ("quoted-value", b"dyndbg=\"file virtio.c +p\" a=\"\""),
    ("quoted-parameter", b"\"a=b c\" \"d e\""),
    ("inner-quotes", b"a=b\"c d\"e f\"g h\"=i"),
    ("init-arguments", b"quiet -- single \"a=b c\""),
    ("white-space", b"\t quiet \n\r ro\x0b\x0c\n"),
    ("quoted-space-byte", b"a=\"\xc3\xa0\""),
    ("space-byte", b"a=\xc3\xa0"),
    ("control", b"a=\x01"),
    ("unbalanced", b"a=\"b c"),
    ("hidden-separator", b"a=\"b -- c\""),
    ("second-separator", b"a -- b -- c"),
];

pub(crate) fn seeds() -> Vec<Seed> {
    LINES.map(|(name, line)| (name, line.to_vec())).to_vec()
}
