//! Output of programs that print text for people, and values as one JSON object a line.

use serde::de::DeserializeOwned;

use crate::error::Error;

fn is_object(line: &str) -> bool {
    line.starts_with('{')
}

/// The objects, in order. `what` names one in the error.
pub(crate) fn read<T: DeserializeOwned>(output: &str, what: &str) -> Result<Vec<T>, Error> {
    let objects = output.lines().filter(|line| is_object(line));
    objects
        .map(|line| {
            serde_json::from_str(line).map_err(|source| Error::Json {
                what: what.into(),
                source,
            })
        })
        .collect()
}

/// The other lines.
pub(crate) fn others(output: &str) -> impl Iterator<Item = &str> {
    output.lines().filter(|line| !is_object(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_and_text_are_told_apart() {
        let output = "hello\n[1]\n{\"a\":1}\n{\"a\":2}\nend\n";
        let objects: Vec<std::collections::BTreeMap<String, u8>> = read(output, "a number").unwrap();
        let values: Vec<u8> = objects.iter().map(|object| object["a"]).collect();
        assert_eq!(values, [1, 2]);
        assert!(others(output).eq(["hello", "[1]", "end"]));
        let error = read::<u8>("{", "a number").unwrap_err();
        assert!(error.to_string().contains("a number"));
    }
}
