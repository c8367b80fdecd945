//! Bar charts of measurements, as SVG.

use std::fmt::Write as _;

/// Lengths in pixels.
const LABELS: u32 = 360;
const BARS: u32 = 420;
const LINE: u32 = 24;

/// A bar: its label, its value, and the text of the value.
#[derive(Clone, Debug)]
pub(crate) struct Bar {
    pub(crate) label: String,
    pub(crate) value: f64,
    pub(crate) text: String,
}

/// Draws the bars on a logarithmic scale; the value `zero` and smaller ones have no length.
pub(crate) fn svg(title: &str, zero: f64, bars: &[Bar]) -> String {
    let decades = |bar: &Bar| (bar.value / zero).max(1.0).log10();
    let largest = bars.iter().map(decades).fold(1.0, f64::max);
    let count = u32::try_from(bars.len()).unwrap_or(0);
    let (width, height) = (LABELS + BARS + 110, (count + 2) * LINE);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"8\" y=\"17\" font-weight=\"bold\">{title}, logarithmic</text>\n"
    );
    for (bar, row) in bars.iter().zip(1..) {
        let top = row * LINE;
        let length = f64::from(BARS) * decades(bar) / largest;
        let end = f64::from(LABELS) + length + 6.0;
        let (base, Bar { label, text, .. }) = (top + 16, bar);
        let written = writeln!(
            svg,
            "<text x=\"8\" y=\"{base}\">{label}</text>\
             <rect x=\"{LABELS}\" y=\"{}\" width=\"{length:.1}\" height=\"16\" fill=\"#4a7ab5\"/>\
             <text x=\"{end:.1}\" y=\"{base}\">{text}</text>",
            top + 3
        );
        debug_assert!(written.is_ok(), "a string takes all text");
    }
    svg.push_str("</svg>\n");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn larger_values_have_longer_bars() {
        let bar = |label: &str, value: f64| Bar {
            label: label.to_owned(),
            value,
            text: format!("{value:.1} µs"),
        };
        let bars = [bar("call", 10.0), bar("create", 1000.0), bar("nothing", 0.1)];
        let check = |zero, expected: [&str; 3]| {
            let svg = svg("Times", zero, &bars);
            let bars: Vec<&str> = svg.lines().filter(|line| line.contains("<rect x")).collect();
            assert_eq!(bars.len(), 3);
            for (bar, width) in bars.iter().zip(expected) {
                assert!(bar.contains(&format!("width=\"{width}\"")), "{bar}");
            }
            assert!(bars[0].contains("10.0 µs"));
        };
        check(1.0, ["140.0", "420.0", "0.0"]);
        check(0.1, ["210.0", "420.0", "0.0"]);
    }
}
