//! A script's file: comments, commands and what they are expected to print; and the difference
//! between two of them.

/// How many equal lines are shown around a difference.
const CONTEXT: usize = 3;

/// One block: commands, and below `---` their output.
#[derive(Debug, Default)]
pub(crate) struct Block {
    /// The commands, with the comments and blank lines before and among them, as written.
    pub(crate) commands: Vec<String>,
    /// The output.
    pub(crate) output: Vec<String>,
}

/// The blocks of a file.
pub(crate) fn parse(text: &str) -> Vec<Block> {
    let mut blocks = vec![];
    let mut block = Block::default();
    let mut in_output = false;
    for line in text.lines() {
        match (in_output, line) {
            (false, "---") => in_output = true,
            (true, "") => {
                blocks.push(std::mem::take(&mut block));
                in_output = false;
            }
            (false, _) => block.commands.push(line.to_owned()),
            (true, _) => block.output.push(line.to_owned()),
        }
    }
    if in_output || block.commands.iter().any(|line| !line.is_empty()) {
        blocks.push(block);
    }
    blocks
}

/// The text of a file with these blocks.
pub(crate) fn render(blocks: &[Block]) -> String {
    let text = |block: &Block| {
        format!("{}\n---\n{}\n", block.commands.join("\n"), block.output.join("\n"))
    };
    blocks.iter().map(text).collect::<Vec<_>>().join("\n")
}

/// The lines that differ, with a few around them: `-` as expected, `+` as it is.
pub(crate) fn difference(expected: &str, actual: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), actual.lines().collect());
    let marked = mark(&old, &new);
    let near = |at: usize| {
        let from = at.saturating_sub(CONTEXT);
        marked.iter().skip(from).take(at - from + CONTEXT + 1).any(|(mark, _)| *mark != ' ')
    };
    let mut shown = String::new();
    let mut gap = false;
    for (at, (mark, line)) in marked.iter().enumerate() {
        if near(at) {
            shown.push_str(&format!("{mark} {line}\n"));
        } else if !gap {
            shown.push_str("  ...\n");
        }
        gap = !near(at);
    }
    shown
}

/// Every line of both, marked by where it occurs, over their longest common subsequence.
fn mark<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<(char, &'a str)> {
    // common[i][j]: how many lines old[i..] and new[j..] have in common.
    let mut common = vec![vec![0; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i][j] = if old[i] == new[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut marked = vec![];
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            marked.push((' ', old[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || (i < old.len() && common[i + 1][j] >= common[i][j + 1]) {
            marked.push(('-', old[i]));
            i += 1;
        } else {
            marked.push(('+', new[j]));
            j += 1;
        }
    }
    marked
}
