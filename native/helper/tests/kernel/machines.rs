use crate::{helper::user_is_refused, rows::Row};
pub fn rows() -> Vec<Row> { vec![] }
/// `--refused WORD`
pub fn refused(word: String) -> Row {
    Row::new(&format!("machine: refused: {word}"), move |ground| {
        user_is_refused(ground, &word);
    })
}
