//! One line that tells how far a run is, on a terminal only.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use super::stint::Stint;

/// How often it is told.
const INTERVAL: Duration = Duration::from_millis(250);
/// Goes to the beginning of the line, and clears it.
const CLEAR: &str = "\r\x1b[2K";

/// Tells until it is dropped.
pub(super) async fn show(stint: &Stint) {
    if !std::io::stderr().is_terminal() {
        return std::future::pending().await;
    }
    let _clear = Clear;
    let mut last = (Instant::now(), 0);
    loop {
        tokio::time::sleep(INTERVAL).await;
        let (now, taken) = (Instant::now(), stint.taken());
        let rate = (taken - last.1) as f64 / (now - last.0).as_secs_f64();
        last = (now, taken);
        write(&format!("{CLEAR}{}", line(stint, taken, rate)));
    }
}

fn line(stint: &Stint, taken: u64, rate: f64) -> String {
    let terms = stint.terms();
    let seconds = stint.begun().elapsed().as_secs();
    let share = match (terms.total, terms.lasts) {
        (Some(total), _) => format!(" of {total}  {}%", taken * 100 / total.max(1)),
        (None, Some(lasts)) => format!("  {seconds} s of {} s", lasts.as_secs()),
        (None, None) => format!("  {seconds} s"),
    };
    format!("{taken}{share}  {rate:.0}/s")
}

fn write(text: &str) {
    // Nothing can be done about a terminal that is gone.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Leaves no line behind.
struct Clear;

impl Drop for Clear {
    fn drop(&mut self) {
        write(CLEAR);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::stint::Terms;

    #[test]
    fn a_line_tells_how_much_of_what_is_done() {
        let counted = Stint::new(Terms { total: Some(200), ..Terms::default() });
        assert_eq!(line(&counted, 50, 12.4), "50 of 200  25%  12/s");
        let lasts = Some(Duration::from_secs(9));
        let timed = Stint::new(Terms { lasts, ..Terms::default() });
        assert_eq!(line(&timed, 50, 12.6), "50  0 s of 9 s  13/s");
    }
}
