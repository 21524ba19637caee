//! A picture of the ratios: for each cell a group of bars, a whisker on each from the least to the greatest round.

use crate::measure::{Row, count, whole};
use std::fmt::Write as _;

const BAR: f64 = 16.0;
const GAP: f64 = 26.0;
const LEFT: f64 = 52.0;
const TOP: f64 = 56.0;
const HEIGHT: f64 = 320.0;
const LEGEND: f64 = 190.0;
/// Apart for those who see few colours, too.
const COLOURS: [&str; 10] = [
    "#0072b2", "#56b4e9", "#003a5c", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#999999",
    "#f0e442", "#000000",
];

/// The picture as SVG; neighbours of one work and one cell are a group.
pub(crate) fn svg(rows: &[Row], event_bytes: usize) -> String {
    let mut peers: Vec<&str> = Vec::new();
    for row in rows {
        if !peers.contains(&row.peer) {
            peers.push(row.peer);
        }
    }
    let top = rows.iter().map(|row| row.ratio().max).fold(1.0, f64::max);
    let step = step(top);
    let lines = (top / step).ceil();
    let height_of = |ratio: f64| ratio / (lines * step) * HEIGHT;
    let base = TOP + HEIGHT;
    let mut body = String::new();
    let mut x = LEFT + GAP;
    for group in rows.chunk_by(|left, right| left.work == right.work && left.shape == right.shape) {
        let begin = x;
        for row in group {
            let colour =
                peers.iter().position(|peer| *peer == row.peer).unwrap_or_default() % COLOURS.len();
            bar(
                &mut body,
                x,
                base,
                row,
                COLOURS.get(colour).copied().unwrap_or("black"),
                height_of,
            );
            x += BAR;
        }
        if let Some(first) = group.first() {
            let middle = f64::midpoint(begin, x);
            text(&mut body, middle, base + 18.0, "middle", &first.shape.to_string());
            text(&mut body, middle, base + 34.0, "middle", &first.work.to_string());
        }
        x += GAP;
    }
    let mut picture = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{:.0}\" height=\"{:.0}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        x + LEGEND,
        base + 48.0,
    );
    text(
        &mut picture,
        12.0,
        20.0,
        "start",
        &format!("Events of {event_bytes} bytes a second, batch x committers;"),
    );
    text(&mut picture, 12.0, 36.0, "start", "1 is one thread that appends as many bytes and syncs");
    for line in 0..=whole(lines) {
        let ratio = count(line) * step;
        let y = base - height_of(ratio);
        rule(&mut picture, LEFT, x, y, "#dddddd");
        text(&mut picture, LEFT - 6.0, y + 4.0, "end", &format!("{ratio}"));
    }
    // The floor itself is a stronger line.
    rule(&mut picture, LEFT, x, base - height_of(1.0), "#444444");
    picture += &body;
    for (place, (peer, colour)) in peers.iter().zip(COLOURS.iter().cycle()).enumerate() {
        let y = TOP + count(place) * 20.0;
        rect(&mut picture, x, y, 12.0, 12.0, colour, "");
        text(&mut picture, x + 18.0, y + 11.0, "start", peer);
    }
    picture + "</svg>\n"
}

/// Between two lines of the scale: about eight of them.
fn step(top: f64) -> f64 {
    let rough = (top / 8.0).max(1e-3);
    let power = 10f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|digit| digit * power)
        .into_iter()
        .find(|step| *step >= rough)
        .unwrap_or(rough)
}

fn bar(
    to: &mut String,
    x: f64,
    base: f64,
    row: &Row,
    colour: &str,
    height_of: impl Fn(f64) -> f64,
) {
    let ratio = row.ratio();
    let tip = format!(
        "{} {} {}: {ratio} times the floor, {:.0} events/s",
        row.peer,
        row.work,
        row.shape,
        row.events_per_s().median
    );
    rect(to, x, base - height_of(ratio.median), BAR - 2.0, height_of(ratio.median), colour, &tip);
    let (middle, low, high) =
        (x + BAR / 2.0 - 1.0, base - height_of(ratio.min), base - height_of(ratio.max));
    write_to(
        to,
        format_args!(
            "<path d=\"M{middle:.1} {low:.1}V{high:.1}M{:.1} {low:.1}h6M{:.1} {high:.1}h6\" stroke=\"#222222\" fill=\"none\"/>\n",
            middle - 3.0,
            middle - 3.0,
        ),
    );
}

fn rect(to: &mut String, x: f64, y: f64, width: f64, height: f64, colour: &str, tip: &str) {
    let tip = escaped(tip);
    write_to(
        to,
        format_args!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\"><title>{tip}</title></rect>\n"
        ),
    );
}

fn rule(to: &mut String, from: f64, until: f64, y: f64, colour: &str) {
    write_to(to, format_args!("<path d=\"M{from:.1} {y:.1}H{until:.1}\" stroke=\"{colour}\"/>\n"));
}

fn text(to: &mut String, x: f64, y: f64, anchor: &str, what: &str) {
    let what = escaped(what);
    write_to(
        to,
        format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{what}</text>\n"),
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

fn write_to(to: &mut String, what: std::fmt::Arguments<'_>) {
    to.write_fmt(what).expect("a string takes all");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{Shape, Work};

    fn row(peer: &'static str, batch: u32, ratios: &[f64]) -> Row {
        let rounds = ratios.iter().map(|ratio| (ratio * 1000.0, *ratio)).collect();
        let shape = Shape { batch, committers: 1 };
        Row { peer, work: Work::Put, shape, rounds, disturbed: 0, latencies_us: Vec::new() }
    }

    #[test]
    fn each_row_has_a_bar_with_a_whisker_and_each_cell_a_name() {
        let rows = [row("a", 1, &[1.0, 2.0, 3.0]), row("b & c", 1, &[0.5]), row("a", 100, &[1.5])];
        let picture = svg(&rows, 500);
        assert_eq!(picture.matches("stroke=\"#222222\"").count(), rows.len());
        assert_eq!(picture.matches("fill=\"#0072b2\"").count(), 3, "two bars of a, and its legend");
        assert!(
            picture.contains(">1x1<")
                && picture.contains(">100x1<")
                && picture.contains(">b &amp; c<")
        );
        // The scale ends at 3: the median of a's first cell stands at two thirds, its whisker reaches the top.
        assert!(picture.contains(&format!("V{TOP:.1}M")) && picture.contains("height=\"213.3\""));
    }

    #[test]
    fn a_scale_has_a_handful_of_round_steps() {
        assert_eq!([step(1.0), step(5.0), step(8.0), step(30.0)], [0.2, 1.0, 1.0, 5.0]);
    }
}
