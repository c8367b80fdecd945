//! A bar chart of times, as SVG.

use std::fmt::Write as _;

use super::step::StepTime;

/// Lengths in pixels.
const LABELS: u32 = 240;
const BARS: u32 = 420;
const LINE: u32 = 24;

/// Draws one bar a step, on a logarithmic scale from 1 microsecond on.
pub(super) fn svg(title: &str, times: &[StepTime]) -> String {
    let largest = times.iter().map(decades).fold(1.0, f64::max);
    let count = u32::try_from(times.len()).unwrap_or(0);
    let (width, height) = (LABELS + BARS + 110, (count + 2) * LINE);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"8\" y=\"17\" font-weight=\"bold\">Sandbox on {title}: time of each step, logarithmic</text>\n"
    );
    for (time, row) in times.iter().zip(1..) {
        let top = row * LINE;
        let length = f64::from(BARS) * decades(time) / largest;
        let end = f64::from(LABELS) + length + 6.0;
        let (base, step, microseconds) = (top + 16, &time.step, time.microseconds);
        let written = writeln!(
            svg,
            "<text x=\"8\" y=\"{base}\">{step}</text>\
             <rect x=\"{LABELS}\" y=\"{}\" width=\"{length:.1}\" height=\"16\" fill=\"#4a7ab5\"/>\
             <text x=\"{end:.1}\" y=\"{base}\">{microseconds:.1} µs</text>",
            top + 3
        );
        debug_assert!(written.is_ok(), "a string takes all text");
    }
    svg.push_str("</svg>\n");
    svg
}

/// Powers of ten above 1 microsecond; times below it have none.
fn decades(time: &StepTime) -> f64 {
    time.microseconds.max(1.0).log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longer_times_have_longer_bars() {
        let time = |step: &str, microseconds| StepTime {
            step: step.to_owned(),
            microseconds,
        };
        let svg = svg(
            "x86_64",
            &[time("call", 10.0), time("create", 1000.0), time("nothing", 0.1)],
        );
        let bars: Vec<&str> = svg.lines().filter(|line| line.contains("<rect x")).collect();
        assert_eq!(bars.len(), 3);
        assert!(bars[0].contains("width=\"140.0\"") && bars[0].contains("10.0 µs"));
        assert!(bars[1].contains("width=\"420.0\"") && bars[2].contains("width=\"0.0\""));
    }
}
