//! A picture of one question: for each cell a mark of each peer, with a whisker. The scale is logarithmic: half and double are as far.
//!
//! It brings its own ground, light or dark as the reader prefers, so that it can be read on any page.

use crate::{
    figures::Figures,
    measure::count,
    peers::Answer,
    report::{cells, names},
};
use std::fmt::Write as _;

const WIDTH: f64 = 900.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 16.0;
const LEGEND_TOP: f64 = 58.0;
const LEGEND_LINE: f64 = 20.0;
const HEIGHT: f64 = 300.0;
const STYLE: &str = "\
text{font:12px sans-serif;fill:#1f2328}.t{font-size:16px;font-weight:600}.g{fill:#fff}.l{stroke:#d8dee4}.f{stroke:#1f2328}\
.b{fill:#f3f5f7}path{fill:none}\
.s0{stroke:#0060b0;fill:#0060b0}.s1{stroke:#e08a00;fill:#e08a00}.s2{stroke:#00855f;fill:#00855f}.s3{stroke:#b8548f;fill:#b8548f}\
.s4{stroke:#c74a00;fill:#c74a00}.s5{stroke:#6f42c1;fill:#6f42c1}.s6{stroke:#7a7f87;fill:#7a7f87}.s7{stroke:#2f9fd8;fill:#2f9fd8}\
.s8{stroke:#8a7a00;fill:#8a7a00}.s9{stroke:#1f2328;fill:#1f2328}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.g{fill:#0d1117}.l{stroke:#30363d}.f{stroke:#e6edf3}.b{fill:#161b22}\
.s0{stroke:#58a6ff;fill:#58a6ff}.s2{stroke:#3fb68b;fill:#3fb68b}.s3{stroke:#f08bc4;fill:#f08bc4}.s4{stroke:#ff7b4d;fill:#ff7b4d}\
.s5{stroke:#b392f0;fill:#b392f0}.s8{stroke:#d9c94a;fill:#d9c94a}.s9{stroke:#e6edf3;fill:#e6edf3}}\
path.s0,path.s1,path.s2,path.s3,path.s4,path.s5,path.s6,path.s7,path.s8,path.s9{fill:none}";
const COLOURS: usize = 10;

/// What is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Of {
    /// Times the floor, from the least round to the greatest.
    #[default]
    Ratio,
    /// Microseconds of a commit: half stay below the mark, 99 of 100 below the whisker's end.
    Latency,
}

impl Of {
    pub(crate) fn named(name: &str) -> Answer<Self> {
        match name {
            "ratio" => Ok(Self::Ratio),
            "latency" => Ok(Self::Latency),
            _ => Err(format!("--plot-of {name}: one of ratio, latency").into()),
        }
    }

    /// The mark, and the ends of its whisker.
    fn of(self, row: &Figures) -> Option<[f64; 3]> {
        let found = match self {
            Self::Ratio => [row.ratio.median, row.ratio.min, row.ratio.max],
            Self::Latency => {
                let p50 = f64::from(row.p50_us?);
                [p50, p50, f64::from(row.p99_us?)]
            }
        };
        found.iter().all(|figure| *figure > 0.0).then_some(found)
    }

    fn title(self) -> &'static str {
        match self {
            Self::Ratio => "Durable events a second, times the floor",
            Self::Latency => "Latency of a commit, microseconds",
        }
    }

    fn says(self) -> &'static str {
        match self {
            Self::Ratio => {
                "Mark: median; whisker: least to greatest round. 1 is the floor: one thread that appends as many bytes and syncs."
            }
            Self::Latency => {
                "Microseconds. Mark: half of the commits take less; end of the whisker: 99 of 100 do."
            }
        }
    }
}

/// A logarithmic scale from one round number to another.
struct Scale {
    from: f64,
    to: f64,
    top: f64,
}

impl Scale {
    fn around(figures: impl Iterator<Item = f64>, top: f64) -> Self {
        let (least, most) = figures.fold((f64::MAX, f64::MIN), |(a, b), x| (a.min(x), b.max(x)));
        let (least, most) = if least > most { (0.5, 2.0) } else { (least, most) };
        let from = steps(least / 10.0, least).last().copied().unwrap_or(least);
        let to = steps(most, most * 10.0).first().copied().unwrap_or(most);
        Self { from, to: to.max(from * 2.0), top }
    }

    fn y(&self, figure: f64) -> f64 {
        self.top + HEIGHT * (self.to / figure).ln() / (self.to / self.from).ln()
    }
}

/// 1, 2, 5, 10, ... from one number to another.
fn steps(from: f64, to: f64) -> Vec<f64> {
    let powers = (-6..9).map(|power| 10f64.powi(power));
    let all = powers.flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * power));
    // Powers of ten below one are not exact.
    all.filter(|step| (from * 0.999_999..=to * 1.000_001).contains(step)).collect()
}

/// What tells the marks of a cell apart: the peer, or the size of an event where there is but one peer.
fn series_of(row: &Figures, is_by_size: bool) -> String {
    if is_by_size { format!("{} bytes", row.event_bytes) } else { row.peer.clone() }
}

/// The picture as SVG.
pub(crate) fn svg(rows: &[Figures], of: Of, title: Option<&str>) -> String {
    // Of some nobody knows it.
    let rows: Vec<Figures> = rows.iter().filter(|row| of.of(row).is_some()).cloned().collect();
    let rows = rows.as_slice();
    let sizes = distinct(rows.iter().map(|row| row.event_bytes.to_string()));
    let works = distinct(rows.iter().map(|row| row.work.to_string()));
    let is_by_size = names(rows).len() == 1 && sizes.len() > 1;
    let series = distinct(rows.iter().map(|row| series_of(row, is_by_size)));
    let label = |row: &Figures| {
        let size = (sizes.len() > 1 && !is_by_size).then(|| format!("{} B", row.event_bytes));
        let work = (works.len() > 1).then(|| row.work.to_string());
        [Some(row.shape.to_string()), size, work].into_iter().flatten().collect::<Vec<_>>()
    };
    let groups = distinct(cells(rows).iter().filter_map(|cell| cell.first()).map(|row| label(row)));
    let (legend, top) = legend(&series);
    let scale = Scale::around(rows.iter().filter_map(|row| of.of(row)).flatten(), top);
    let bottom = top + HEIGHT;
    let labels = groups.iter().map(Vec::len).max().unwrap_or(1);
    let height = bottom + 40.0 + 16.0 * count(labels);
    let mut to = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\">\n\
         <style>{STYLE}</style>\n<rect class=\"g\" width=\"100%\" height=\"100%\" rx=\"6\"/>\n"
    );
    text(&mut to, "t", 14.0, 24.0, "start", title.unwrap_or(of.title()));
    text(&mut to, "", 14.0, 44.0, "start", of.says());
    to += &legend;
    let wide = (WIDTH - LEFT - RIGHT) / count(groups.len().max(1));
    for at in (0..groups.len()).step_by(2) {
        let x = LEFT + wide * count(at);
        add(
            &mut to,
            format_args!(
                "<rect class=\"b\" x=\"{x:.1}\" y=\"{top:.1}\" width=\"{wide:.1}\" height=\"{HEIGHT}\"/>\n"
            ),
        );
    }
    for step in steps(scale.from, scale.to) {
        let (y, class) = (scale.y(step), if of == Of::Ratio && step == 1.0 { "f" } else { "l" });
        add(
            &mut to,
            format_args!("<path class=\"{class}\" d=\"M{LEFT} {y:.1}H{:.1}\"/>\n", WIDTH - RIGHT),
        );
        text(&mut to, "", LEFT - 6.0, y + 4.0, "end", &step.to_string());
    }
    for (at, lines) in groups.iter().enumerate() {
        let middle = LEFT + wide * (count(at) + 0.5);
        for (line, words) in lines.iter().enumerate() {
            text(&mut to, "", middle, bottom + 18.0 + 16.0 * count(line), "middle", words);
        }
    }
    text(&mut to, "", WIDTH / 2.0, height - 10.0, "middle", "events in a commit x committers");
    for row in rows {
        let group = groups.iter().position(|lines| *lines == label(row)).unwrap_or_default();
        let name = series_of(row, is_by_size);
        let place = series.iter().position(|other| *other == name).unwrap_or_default();
        let apart = wide / (count(series.len()) + 1.0);
        let x = LEFT + wide * count(group) + apart * (count(place) + 1.0);
        if let Some([mark, low, high]) = of.of(row) {
            let tip = format!(
                "{name}, {}: {mark} ({low}-{high}), {:.0} events/s",
                row.shape, row.events_per_s.median
            );
            draw(&mut to, place, x, [mark, low, high].map(|figure| scale.y(figure)), &tip);
        }
    }
    to + "</svg>\n"
}

fn distinct<T: PartialEq>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut found = Vec::new();
    for item in items {
        if !found.contains(&item) {
            found.push(item);
        }
    }
    found
}

/// The names beside their colours, and where the picture begins below them.
fn legend(series: &[String]) -> (String, f64) {
    let (mut to, mut x, mut y) = (String::new(), 14.0, LEGEND_TOP);
    for (place, name) in series.iter().enumerate() {
        // About as wide as its letters.
        let wide = 34.0 + 7.0 * count(name.chars().count());
        if x + wide > WIDTH {
            (x, y) = (14.0, y + LEGEND_LINE);
        }
        mark(&mut to, place, x + 5.0, y + 6.0, "");
        text(&mut to, "", x + 16.0, y + 10.0, "start", name);
        x += wide;
    }
    (to, y + LEGEND_LINE + 14.0)
}

/// A mark with a whisker between two heights.
fn draw(to: &mut String, place: usize, x: f64, [middle, low, high]: [f64; 3], tip: &str) {
    let class = place % COLOURS;
    add(
        to,
        format_args!(
            "<path class=\"s{class}\" d=\"M{x:.1} {low:.1}V{high:.1}\" stroke-width=\"2\"/>\n"
        ),
    );
    mark(to, place, x, middle, tip);
}

/// Round where colours begin, and square where they come again.
fn mark(to: &mut String, place: usize, x: f64, y: f64, tip: &str) {
    let (class, tip) = (place % COLOURS, escaped(tip));
    let tip = if tip.is_empty() { tip } else { format!("<title>{tip}</title>") };
    let corner = if place < COLOURS { 4.0 } else { 0.0 };
    add(
        to,
        format_args!(
            "<rect class=\"s{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"8\" height=\"8\" rx=\"{corner}\">{tip}</rect>\n",
            x - 4.0,
            y - 4.0
        ),
    );
}

fn text(to: &mut String, class: &str, x: f64, y: f64, anchor: &str, what: &str) {
    let what = escaped(what);
    let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
    add(
        to,
        format_args!(
            "<text{class} x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{what}</text>\n"
        ),
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

fn add(to: &mut String, what: std::fmt::Arguments<'_>) {
    to.write_fmt(what).expect("a string takes all");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::example;

    #[test]
    fn each_row_has_a_mark_with_a_whisker_and_each_cell_a_name() {
        let rows = [
            example("a", 1, [1.0, 2.0, 4.0]),
            example("b & c", 1, [0.5; 3]),
            example("a", 100, [1.5; 3]),
        ];
        let picture = svg(&rows, Of::Ratio, None);
        assert_eq!(picture.matches("stroke-width").count(), rows.len());
        assert_eq!(picture.matches("<rect class=\"s0\"").count(), 3, "two of a, and its legend");
        assert!([">1x1<", ">100x1<", ">b &amp; c<"].iter().all(|text| picture.contains(text)));
        // From 0.5 to 5: 1 and its line are 0.3 of the way up.
        assert_eq!(picture.matches("class=\"f\"").count(), 1);
    }

    #[test]
    fn a_scale_has_round_ends_and_equal_factors_are_equally_far() {
        let scale = Scale::around([0.07, 14.0].into_iter(), 0.0);
        assert_eq!([scale.from, scale.to], [0.05, 20.0]);
        assert!((scale.y(20.0)).abs() < 1e-9 && (scale.y(0.05) - HEIGHT).abs() < 1e-9);
        let apart = |a: f64, b: f64| scale.y(a) - scale.y(b);
        assert!((apart(1.0, 2.0) - apart(4.0, 8.0)).abs() < 1e-9);
    }

    #[test]
    fn of_one_peer_the_sizes_of_events_are_told_apart() {
        let small = Figures { event_bytes: 100, ..example("a", 1, [1.0; 3]) };
        let picture = svg(&[small, example("a", 1, [2.0; 3])], Of::Ratio, Some("sizes"));
        assert!(
            [">100 bytes<", ">500 bytes<", ">sizes<"].iter().all(|text| picture.contains(text))
        );
        assert_eq!(picture.matches(">1x1<").count(), 1);
    }
}
