//! What happened, in columns: one per member, the world's own lines across.

use quorate_io_sim::world::trace::Line;

/// Characters of one column.
const WIDTH: usize = 44;

/// One line of text per line of the trace.
pub(super) fn draw(lines: &[Line], nodes: usize) -> Vec<String> {
    let mut drawn = Vec::with_capacity(lines.len() + 1);
    if !lines.is_empty() {
        let heads: String = (1..=nodes).map(|n| format!("{:<WIDTH$}", format!("m{n}"))).collect();
        drawn.push(format!("{:>14} {}", "seconds", heads.trim_end()));
    }
    drawn.extend(lines.iter().map(draw_line));
    drawn
}

fn draw_line(line: &Line) -> String {
    let time = format!("{:>4}.{:09}", line.at / 1_000_000_000, line.at % 1_000_000_000);
    match line.node {
        None => format!("{time} {}", line.text),
        Some(node) => {
            let text: String = line.text.chars().take(WIDTH - 2).collect();
            format!("{time} {:indent$}{text}", "", indent = node * WIDTH)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_member_has_its_column_and_the_world_the_whole_width() {
        let line = |node, text: &str| Line { at: 1_500_000_000, node, text: text.to_string() };
        let lines =
            [line(Some(0), "<persisted 1"), line(Some(1), &"x".repeat(90)), line(None, "!")];
        let drawn = draw(&lines, 2);
        assert_eq!(drawn[0], format!("       seconds m1{}m2", " ".repeat(42)));
        assert_eq!(drawn[1], "   1.500000000 <persisted 1");
        let column = format!("   1.500000000 {}{}", " ".repeat(44), "x".repeat(42));
        assert_eq!(drawn[2], column);
        assert_eq!(drawn[3], "   1.500000000 !");
    }
}
