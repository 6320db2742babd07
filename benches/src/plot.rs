//! The plot: cost beside the bare AEAD against tenants and sessions, as an SVG that is readable on light and on dark ground.

use std::fmt::Write;

use crate::path::{EVERYBODY, LARGE, MOST_SESSIONS, PATH, Row, SMALL, measure};
use crate::world::{Direction, Load, World};

const DIRECTIONS: [Direction; 2] = [Direction::OfficeToCloud, Direction::CloudToOffice];
const SIZES: [usize; 2] = [SMALL, LARGE];
/// Fewer than for the table: there are many points.
const ROUNDS: usize = 25;

/// What a panel varies, and the points that it shows.
struct Panel {
    title: &'static str,
    axis: &'static str,
    /// (tenants, sessions).
    worlds: Vec<(usize, usize)>,
    /// The one of the two that the axis shows.
    shows: fn((usize, usize)) -> usize,
}

fn panels() -> Vec<Panel> {
    let sessions = |tenants: usize| [1, 10, 100, 1_000, 10_000, 100_000, MOST_SESSIONS].map(|count| (tenants, count));
    vec![
        Panel {
            title: "tenants in turn, one session each",
            axis: "tenants",
            worlds: [1, 2, 8, 32, 128, 512, EVERYBODY].map(|tenants| (tenants, tenants)).to_vec(),
            shows: |(tenants, _)| tenants,
        },
        Panel { title: "1 tenant", axis: "sessions", worlds: sessions(1).to_vec(), shows: |(_, sessions)| sessions },
        Panel {
            title: "1,788 tenants in turn",
            axis: "sessions",
            worlds: [EVERYBODY, 10_000, 100_000, MOST_SESSIONS].map(|count| (EVERYBODY, count)).to_vec(),
            shows: |(_, sessions)| sessions,
        },
    ]
}

/// Measure every point of the plot, the same world once.
pub(crate) fn sweep() -> Vec<Row> {
    let mut worlds: Vec<(usize, usize)> = panels().into_iter().flat_map(|panel| panel.worlds).collect();
    worlds.sort_unstable();
    worlds.dedup();
    let mut rows = Vec::new();
    for (tenants, sessions) in worlds {
        let mut world = World::new(tenants, sessions, 0);
        for direction in DIRECTIONS {
            for size in SIZES {
                rows.push(measure(&mut world, PATH, Load::Known(direction), size, ROUNDS));
            }
        }
    }
    rows
}

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 368.0;
const LEFT: f64 = 56.0;
const GAP: f64 = 26.0;
const TOP: f64 = 84.0;
const BOTTOM: f64 = 316.0;
const PANEL: f64 = (WIDTH - LEFT - 16.0 - 2.0 * GAP) / 3.0;
/// Legible on white and on GitHub's dark grey.
const INK: &str = "#7d8590";
const COLOURS: [&str; 2] = ["#d9730d", "#2f81f7"];

/// The SVG of what [`sweep`] measured.
pub(crate) fn svg(rows: &[Row]) -> String {
    let highest = rows.iter().map(|row| row.ratio).fold(2.0, f64::max).ceil();
    let step = [1.0, 2.0, 4.0, 5.0, 10.0, 20.0].into_iter().find(|step| highest / step <= 8.0).unwrap_or(50.0);
    let scale = Scale { top: (highest / step).ceil() * step, step };
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"-apple-system, 'Segoe UI', Helvetica, \
         Arial, sans-serif\" font-size=\"12\" fill=\"{INK}\">\n<title>Cost of a packet beside the bare AEAD, against tenants and \
         sessions</title>\n"
    );
    legend(&mut out);
    for (number, panel) in panels().iter().enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "three panels")]
        let left = LEFT + number as f64 * (PANEL + GAP);
        draw(&mut out, panel, left, &scale, number == 0, rows);
    }
    out.push_str("</svg>\n");
    out
}

/// The vertical axis: multiples of the bare AEAD.
struct Scale {
    top: f64,
    step: f64,
}

impl Scale {
    fn y(&self, ratio: f64) -> f64 {
        BOTTOM - (BOTTOM - TOP) * ratio / self.top
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        let (top, step) = (self.top, self.step);
        std::iter::successors(Some(0.0), move |tick| (tick + step <= top).then_some(tick + step))
    }
}

/// Writing into a string cannot fail.
macro_rules! put {
    ($out:expr, $($text:tt)*) => { writeln!($out, $($text)*).expect("a string takes everything") };
}

fn legend(out: &mut String) {
    put!(
        out,
        "<text x=\"{LEFT}\" y=\"18\" font-size=\"13\" font-weight=\"600\">CPU time of a packet, as a multiple of the bare AEAD</text>"
    );
    for (series, (size, direction)) in SIZES.into_iter().flat_map(|size| DIRECTIONS.map(|direction| (size, direction))).enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "four series")]
        let x = LEFT + 216.0 * series as f64;
        let (colour, dashes) = style(size, direction);
        put!(out, "<path d=\"M{x} 36h26\" stroke=\"{colour}\" stroke-width=\"2\"{dashes}/>");
        put!(out, "<text x=\"{}\" y=\"40\">{} bytes, {}</text>", x + 33.0, grouped(size), spoken(direction));
    }
}

fn style(size: usize, direction: Direction) -> (&'static str, &'static str) {
    let colour = COLOURS[usize::from(size == LARGE)];
    (colour, if direction == Direction::CloudToOffice { " stroke-dasharray=\"5 4\"" } else { "" })
}

const fn spoken(direction: Direction) -> &'static str {
    match direction {
        Direction::OfficeToCloud => "office to cloud",
        Direction::CloudToOffice => "cloud to office",
    }
}

fn draw(out: &mut String, panel: &Panel, left: f64, scale: &Scale, with_numbers: bool, rows: &[Row]) {
    #[expect(clippy::cast_precision_loss, reason = "at most a million")]
    let log = |value: usize| (value as f64).log10();
    let values: Vec<usize> = panel.worlds.iter().map(|world| (panel.shows)(*world)).collect();
    let (low, high) = (log(values[0]), log(values[values.len() - 1]));
    let x = |value: usize| left + 10.0 + (PANEL - 20.0) * (log(value) - low) / (high - low);
    for tick in scale.ticks() {
        let y = scale.y(tick);
        put!(out, "<path d=\"M{left:.1} {y:.1}h{PANEL:.1}\" stroke=\"{INK}\" stroke-opacity=\"0.25\"/>");
        if with_numbers {
            put!(out, "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{tick} \u{d7}</text>", left - 8.0, y + 4.0);
        }
    }
    let one = scale.y(1.0);
    put!(out, "<path d=\"M{left:.1} {one:.1}h{PANEL:.1}\" stroke=\"{INK}\" stroke-dasharray=\"2 3\"/>");
    if with_numbers {
        put!(out, "<text x=\"{:.1}\" y=\"{:.1}\" font-size=\"11\">bare AEAD</text>", left + 4.0, one + 13.0);
    }
    put!(out, "<path d=\"M{left:.1} {BOTTOM}h{PANEL:.1}\" stroke=\"{INK}\"/>");
    put!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-weight=\"600\">{}</text>",
        left + PANEL / 2.0,
        TOP - 14.0,
        panel.title
    );
    for value in &values {
        let x = x(*value);
        put!(out, "<path d=\"M{x:.1} {BOTTOM}v4\" stroke=\"{INK}\"/>");
        put!(out, "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"11\">{}</text>", BOTTOM + 17.0, short(*value));
    }
    put!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{} (logarithmic)</text>",
        left + PANEL / 2.0,
        BOTTOM + 38.0,
        panel.axis
    );
    for (size, direction) in SIZES.into_iter().flat_map(|size| DIRECTIONS.map(|direction| (size, direction))) {
        let points = panel.worlds.iter().filter_map(|world| {
            let is_it = |row: &&Row| (row.size, row.tenants, row.sessions, row.direction) == (size, world.0, world.1, direction.label());
            rows.iter().find(is_it).map(|row| (x((panel.shows)(*world)), scale.y(row.ratio)))
        });
        line(out, &points.collect::<Vec<_>>(), style(size, direction));
    }
}

fn line(out: &mut String, points: &[(f64, f64)], (colour, dashes): (&str, &str)) {
    let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
    put!(out, "<path d=\"M{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-linejoin=\"round\"{dashes}/>", path.join("L"));
    for (x, y) in points {
        put!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.6\" fill=\"{colour}\"/>");
    }
}

fn grouped(number: usize) -> String {
    if number < 1_000 { number.to_string() } else { format!("{},{:03}", number / 1_000, number % 1_000) }
}

/// As short as a tick's label has to be.
fn short(number: usize) -> String {
    match number {
        1_000_000.. => format!("{} M", number / 1_000_000),
        10_000.. => format!("{} k", number / 1_000),
        _ => grouped(number),
    }
}
