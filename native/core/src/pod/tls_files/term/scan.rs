//! The characters of Erlang terms, as the module `erl_scan` reads them.

/// Words that are no atoms.
const RESERVED: [&str; 27] = [
    "after", "and", "andalso", "band", "begin", "bnot", "bor", "bsl", "bsr", "bxor", "case",
    "catch", "cond", "div", "end", "fun", "if", "let", "not", "of", "or", "orelse", "receive",
    "rem", "try", "when", "xor",
];
/// Of an atom, in characters.
const MAX_ATOM: usize = 255;

pub(super) struct Scanner<'a> {
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { rest: text }
    }

    /// The next character that is neither space nor in a comment.
    pub fn peek(&mut self) -> Option<char> {
        loop {
            self.rest = self.rest.trim_start_matches(is_space);
            match self.rest.strip_prefix('%') {
                Some(comment) => self.rest = comment.trim_start_matches(|letter| letter != '\n'),
                None => return self.rest.chars().next(),
            }
        }
    }

    pub fn skip(&mut self, token: &str) -> bool {
        self.peek();
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    pub fn expect(&mut self, token: &str) -> Option<()> {
        self.skip(token).then_some(())
    }

    /// The dot at the end of a term, with nothing behind it.
    pub fn end(&mut self) -> Option<()> {
        self.expect(".")?;
        let is_dot = self.rest.starts_with(|next| next == '%' || is_space(next));
        ((is_dot || self.rest.is_empty()) && self.peek().is_none()).then_some(())
    }

    pub fn sign(&mut self) -> Option<()> {
        (self.skip("-") || self.skip("+")).then_some(())
    }

    /// This word, and no longer one.
    pub fn skip_word(&mut self, word: &str) -> bool {
        self.peek();
        let rest = self.rest.strip_prefix(word).filter(|rest| !rest.starts_with(is_name));
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// An atom.
    pub fn name(&mut self) -> Option<String> {
        let name = match self.peek()? {
            '\'' => self.quoted('\'')?,
            'a'..='z' | 'ß'..='ö' | 'ø'..='ÿ' => {
                let name = self.take_while(is_name);
                (!RESERVED.contains(&name)).then(|| name.to_owned())?
            }
            _ => return None,
        };
        (name.chars().count() <= MAX_ATOM).then_some(name)
    }

    pub fn quoted(&mut self, end: char) -> Option<String> {
        self.next()?;
        let mut text = String::new();
        loop {
            match self.next()? {
                '\\' => text.push(self.escape()?),
                letter if letter == end => return Some(text),
                letter => text.push(letter),
            }
        }
    }

    /// A character such as `$a`.
    pub fn character(&mut self) -> Option<()> {
        self.next()?;
        match self.next()? {
            '\\' => self.escape().map(|_| ()),
            _ => Some(()),
        }
    }

    /// An integer of any base, or a float. The value of a small integer, else `u32::MAX`.
    pub fn number(&mut self) -> Option<u32> {
        let mut number = self.digits(10);
        if number.is_empty() {
            return None;
        }
        if let Some(digits) = self.rest.strip_prefix('#') {
            let base = number.parse().ok().filter(|base| (2..=36).contains(base))?;
            self.rest = digits;
            let digits = self.digits(base);
            let value = u32::from_str_radix(&digits, base).unwrap_or(u32::MAX);
            return (!digits.is_empty()).then_some(value);
        }
        let fraction = self.rest.strip_prefix('.');
        let Some(fraction) = fraction.filter(|rest| rest.starts_with(is_digit)) else {
            return Some(number.parse().unwrap_or(u32::MAX));
        };
        self.rest = fraction;
        number = number + "." + &self.digits(10);
        if let Some(exponent) = self.rest.strip_prefix(['e', 'E']) {
            let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
            let sign = &exponent[..exponent.len() - digits.len()];
            self.rest = digits;
            number = number + "e" + sign + &self.digits(10);
        }
        number.parse::<f64>().is_ok_and(f64::is_finite).then_some(u32::MAX)
    }

    /// Of a fun.
    pub fn arity(&mut self) -> Option<()> {
        self.peek();
        self.number().filter(|arity| *arity <= 255).map(|_| ())
    }

    /// The digits of a number, without the `_` between them.
    fn digits(&mut self, base: u32) -> String {
        let mut digits = String::new();
        loop {
            digits += self.take_while(|letter| letter.is_digit(base));
            match self.rest.strip_prefix('_') {
                Some(more)
                    if !digits.is_empty() && more.starts_with(|next: char| next.is_digit(base)) =>
                {
                    self.rest = more;
                }
                _ => return digits,
            }
        }
    }

    /// The character after a backslash.
    fn escape(&mut self) -> Option<char> {
        let code = match self.next()? {
            'n' => 0x0a,
            'r' => 0x0d,
            't' => 0x09,
            'v' => 0x0b,
            'b' => 0x08,
            'f' => 0x0c,
            'e' => 0x1b,
            's' => 0x20,
            'd' => 0x7f,
            '^' => match self.next()? {
                '\n' => 0x0a,
                letter => u32::from(letter) & 0x1f,
            },
            'x' => return self.hexadecimal(),
            digit @ '0'..='7' => {
                let more = self.rest.chars().take(2).take_while(|next| next.is_digit(8)).count();
                let (digits, rest) = self.rest.split_at(more);
                self.rest = rest;
                return u32::from_str_radix(&format!("{digit}{digits}"), 8)
                    .ok()
                    .and_then(character);
            }
            letter => return Some(letter),
        };
        character(code)
    }

    /// Two digits, or any number of them in braces.
    fn hexadecimal(&mut self) -> Option<char> {
        let digits = if self.rest.starts_with('{') {
            self.next()?;
            let digits = self.take_while(|letter| letter.is_ascii_hexdigit());
            self.rest = self.rest.strip_prefix('}')?;
            digits
        } else {
            let (digits, rest) = self.rest.split_at_checked(2)?;
            self.rest = rest;
            digits
        };
        // A number of Rust may have a sign.
        let is_number = digits.chars().all(|letter| letter.is_ascii_hexdigit());
        let code = u32::from_str_radix(digits, 16).ok().filter(|_| is_number)?;
        character(code)
    }

    fn next(&mut self) -> Option<char> {
        let mut letters = self.rest.chars();
        let letter = letters.next();
        self.rest = letters.as_str();
        letter
    }

    fn take_while(&mut self, is_taken: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest.trim_start_matches(is_taken);
        let taken = &self.rest[..self.rest.len() - rest.len()];
        self.rest = rest;
        taken
    }
}

fn is_space(letter: char) -> bool {
    letter <= ' ' || ('\u{80}'..='\u{a0}').contains(&letter)
}

fn is_digit(letter: char) -> bool {
    letter.is_ascii_digit()
}

/// Whether an atom without quotes can have it behind its first character.
fn is_name(letter: char) -> bool {
    matches!(letter, 'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '@' | 'À'..='Ö' | 'Ø'..='ö' | 'ø'..='ÿ')
}

/// The two last codes of the first plane are no characters for OTP.
fn character(code: u32) -> Option<char> {
    char::from_u32(code).filter(|_| !(0xfffe..=0xffff).contains(&code))
}
