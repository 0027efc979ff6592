//! A program on a terminal of its own, and what stands there, as text and as a page for a browser.

use std::fmt::Write as _;
use std::io::Read as _;
use std::num::NonZeroU16;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::{os::unix::process::CommandExt as _, process::Child};

use rustix::process::{Pid, Signal, kill_process_group};

use super::find_program;

/// The first sixteen colours of terminals, as they look good on dark.
const COLORS: [&str; 16] = [
    "#1d2429", "#ff8a7d", "#5ed3a2", "#f0b35a", "#7ab0f5", "#c79bf2", "#58c7d6", "#d5dcde",
    "#5d6b73", "#ffa89d", "#85e3bb", "#f7cb88", "#a3c9fa", "#dbbcf8", "#86dce7", "#ffffff",
];
const TEXT: &str = "#d5dcde";
const GROUND: &str = "#12171a";

/// The terminal, and what runs there; ended when dropped.
pub(crate) struct Terminal {
    child: Child,
    screen: Arc<Mutex<vt100::Parser>>,
}

impl Terminal {
    /// Runs a command line of the shell's; nothing where no program makes terminals.
    pub(crate) fn run(rows: u16, columns: u16, line: &str) -> Option<Self> {
        let maker = find_program("script")?;
        let line = format!("stty rows {rows} cols {columns}; exec {line}");
        let mut child = Command::new(maker)
            .args(["-qefc", &line, "/dev/null"])
            .env("TERM", "xterm-256color")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("a terminal");
        let mut shown = child.stdout.take().expect("a piped stdout");
        let screen = Arc::new(Mutex::new(vt100::Parser::new(size(rows), size(columns), 0)));
        let seen = screen.clone();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = shown.read(&mut bytes) {
                seen.lock().expect("nobody panics with it").process(&bytes[..count]);
            }
        });
        Some(Self { child, screen })
    }

    /// What stands there.
    pub(crate) fn text(&self) -> String {
        self.screen.lock().expect("nobody panics with it").screen().contents()
    }

    /// The same as a page: one `pre` with all its colours.
    pub(crate) fn page(&self) -> String {
        let parser = self.screen.lock().expect("nobody panics with it");
        let screen = parser.screen();
        let (rows, columns) = screen.size();
        let mut body = String::new();
        for row in 0..rows.get() {
            for cell in (0..columns.get()).filter_map(|column| screen.cell(row, column)) {
                let _ = write!(body, "<span style=\"{}\">", style(cell));
                body.push_str(&escaped(cell.contents()));
                body.push_str("</span>");
            }
            body.push('\n');
        }
        format!(
            "<!doctype html><meta charset=utf-8><style>body{{margin:0;background:{GROUND}}}\
             pre{{margin:0;padding:18px 22px;display:inline-block;color:{TEXT};\
             font:15px/20px 'JetBrains Mono','DejaVu Sans Mono',monospace}}</style>\
             <pre>{body}</pre>"
        )
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Already gone is as good as ended.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

fn size(cells: u16) -> NonZeroU16 {
    NonZeroU16::new(cells).expect("a terminal has cells")
}

fn style(cell: &vt100::Cell) -> String {
    let (mut front, mut back) = (color(cell.fgcolor(), TEXT), color(cell.bgcolor(), GROUND));
    if cell.inverse() {
        std::mem::swap(&mut front, &mut back);
    }
    let weight = if cell.bold() { ";font-weight:700" } else { "" };
    let opacity = if cell.dim() { ";opacity:.6" } else { "" };
    format!("color:{front};background:{back}{weight}{opacity}")
}

fn color(color: vt100::Color, default: &str) -> String {
    match color {
        vt100::Color::Default => default.to_owned(),
        vt100::Color::Idx(index) => {
            COLORS.get(usize::from(index)).map_or(default, |color| color).to_owned()
        }
        vt100::Color::Rgb(red, green, blue) => format!("rgb({red},{green},{blue})"),
    }
}

fn escaped(text: &str) -> String {
    match text {
        "" => " ".to_owned(),
        text => text.replace('&', "&amp;").replace('<', "&lt;"),
    }
}
