//! Charts as SVG paths in a square of 100 units, which the page stretches. A table beside each chart has the figures.

use std::fmt::Write;

/// A step line through `points`, which are `(x, y)` with ascending x; `top` is the highest y shown.
pub fn steps(points: &[(f64, i64)], top: i64) -> String {
    let (Some((first, _)), Some((last, _))) = (points.first(), points.last()) else {
        return String::new();
    };
    let (first, span) = (*first, (last - first).max(f64::EPSILON));
    let top = float(top.max(1));
    let mut path = String::new();
    for (index, (x, y)) in points.iter().enumerate() {
        let (x, y) = ((x - first) / span * 100.0, 100.0 - float(*y) / top * 100.0);
        // Writing to a text does not fail.
        let _ = if index == 0 {
            write!(path, "M{x:.2} {y:.2}")
        } else {
            write!(path, "H{x:.2}V{y:.2}")
        };
    }
    if points.len() == 1 {
        path.push_str("H100");
    }
    path
}

/// A bar of a chart, or a part of a stacked bar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bar {
    /// Its left edge.
    pub x: f64,
    /// Its upper edge.
    pub y: f64,
    /// How wide it is.
    pub width: f64,
    /// How high it is.
    pub height: f64,
}

/// Bars of two parts, the first below the second: `values` are those parts, `top` is the highest sum shown.
pub fn stacked(values: &[(i64, i64)], top: i64) -> Vec<(Bar, Bar)> {
    let step = 100.0 / values.iter().map(|_| 1.0).sum::<f64>().max(1.0);
    let scale = 100.0 / float(top.max(1));
    let mut x = step * 0.1;
    let mut bars = Vec::with_capacity(values.len());
    for (lower, upper) in values {
        let bar = |from: i64, value: i64| Bar {
            x,
            y: 100.0 - float(from + value) * scale,
            width: step * 0.8,
            height: float(value) * scale,
        };
        bars.push((bar(0, *lower), bar(*lower, *upper)));
        x += step;
    }
    bars
}

#[expect(
    clippy::cast_precision_loss,
    reason = "the difference is invisible in a chart"
)]
fn float(number: i64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn step_line_holds_its_value_until_the_next_point() {
        let points = [(10.0, 4), (15.0, 1), (20.0, 2)];
        assert_eq!(steps(&points, 4), "M0.00 0.00H50.00V75.00H100.00V50.00");
        assert_eq!(steps(&[(10.0, 4)], 4), "M0.00 0.00H100");
        assert_eq!(steps(&[], 4), "");
    }

    #[test]
    fn second_bar_is_stacked_on_the_first() {
        let bars = stacked(&[(1, 1), (4, 0)], 4);
        let (lower, upper) = bars[0];
        assert_eq!(
            (lower.y, lower.height, upper.y, upper.height),
            (75.0, 25.0, 50.0, 25.0)
        );
        assert_eq!(
            (bars[1].0.x, bars[1].0.width, bars[1].1.height),
            (55.0, 40.0, 0.0)
        );
    }
}
