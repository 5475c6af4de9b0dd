pub fn rows() -> Vec<crate::rows::Row> { vec![] }
