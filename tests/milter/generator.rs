//! Messages as nobody writes them and some program does: a seed gives the same ones again.
//!
//! Everything that a signature must survive: odd header fields, 8-bit bytes anywhere, lines of thousands of bytes, nested parts with every
//! label, attached messages, blanks at the ends of lines, lines of dots, bare CR and LF. Left out is what cannot be helped and is
//! tested by itself (`mending`): base64 with long lines, 8-bit inside of signed parts, binary.

/// A source of messages.
pub(crate) struct Generator(u64);

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Xorshift (Marsaglia 2003).
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % bound
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// The header fields (value with its leading space, folds as `"\n"` and white space) and the body, CRLF line ends.
    pub(crate) fn message(&mut self, from: &str) -> (Vec<(String, Vec<u8>)>, Vec<u8>) {
        let (mut fields, body) = self.entity(0);
        let author = self.pick(&[
            " {}",
            " Alice <{}>",
            "\t\"A. Lice\" <{}>  ",
            "\n <{}>",
            " =?utf-8?q?=C3=84?= <{}>",
            " \u{e4} <{}> (x)",
        ]);
        fields.push(("From".to_owned(), author.replace("{}", from).into_bytes()));
        for name in [
            "To",
            "Cc",
            "Subject",
            "References",
            "Reply-To",
            "In-Reply-To",
            "List-Unsubscribe",
            "X-Odd",
            "x-ODD",
            "Keywords",
        ] {
            for _ in 0..self.pick(&[0, 0, 1, 1, 1, 2]) {
                let value = self.value(name);
                fields.push((name.to_owned(), value));
            }
        }
        for (name, value) in [
            ("Date", " Sat, 21 Nov 2026 09:00:00 +0000"),
            ("Message-ID", " <1@example.com>"),
            ("User-Agent", " Mail/1.0"),
            ("X-Mailer", " Mail"),
            ("Received", " from laptop by phone; Sat, 21 Nov 2026 09:00:00 +0000"),
        ] {
            if !self.one_in(3) {
                fields.push((name.to_owned(), value.as_bytes().to_vec()));
            }
        }
        // In any order.
        for at in (1..fields.len()).rev() {
            let other = self.below(at + 1);
            fields.swap(at, other);
        }
        (fields, body)
    }

    fn value(&mut self, name: &str) -> Vec<u8> {
        let word: &[&[u8]] = match name {
            "To" | "Cc" | "Reply-To" => {
                &[b"a@b.test", b"\"x, y\" <c@d.test>", b"group: e@f.test;", b"\xc3\xa4 <g@h.test>"]
            }
            "References" | "In-Reply-To" => {
                &[b"<1@a.test>", b"<0123456789abcdef0123456789abcdef@mail.example.com>"]
            }
            _ => &[
                b"word",
                b"=?utf-8?q?=C3=A4?=",
                b"\xe4",
                b"\"quo ted\"",
                b"(com ment",
                b"a:b;c=d",
                b"\\",
                b"--",
                b".",
            ],
        };
        let list = matches!(name, "To" | "Cc" | "Reply-To");
        let count = self.pick(&[1, 2, 3, 3, 5, 40, 400]);
        let mut value = Vec::new();
        for number in 0..count {
            let blank: &[u8] = self.pick(&[b" ", b" ", b" ", b"  ", b"\t", b"\n ", b"\n\t"]);
            if number > 0 && list {
                value.push(b',');
            }
            value.extend_from_slice(if number == 0 { b" " } else { blank });
            value.extend_from_slice(self.pick(word));
        }
        if self.one_in(4) {
            value.extend_from_slice(b"  \t");
        }
        value
    }

    /// Fields of MIME and the content.
    fn entity(&mut self, depth: usize) -> (Vec<(String, Vec<u8>)>, Vec<u8>) {
        let mut fields = Vec::new();
        let label = |fields: &mut Vec<(String, Vec<u8>)>, value: &str| {
            fields.push(("Content-Transfer-Encoding".to_owned(), format!(" {value}").into_bytes()));
        };
        if depth == 0 && !self.one_in(4) {
            fields
                .push(("MIME-Version".to_owned(), self.pick(&[" 1.0", " 1.0 (Mac OS X Mail 16.0)"]).into()));
        }
        match self.below(if depth < 4 { 10 } else { 6 }) {
            0 => {
                let text = self.text(false);
                return (fields, text);
            }
            1 => {
                fields.push(("Content-Type".to_owned(), b" application/octet-stream".to_vec()));
                label(&mut fields, "base64");
                return (
                    fields,
                    b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUm\r\nJygp\r\n"
                        .repeat(self.below(30)),
                );
            }
            2 => {
                fields.push(("Content-Type".to_owned(), b" text/plain; charset=utf-8".to_vec()));
                label(&mut fields, "quoted-printable");
                let long = self.pick(&[1, 1, 400]);
                return (
                    fields,
                    format!("gr=C3=BC=C3=9Fe {}=3D=\r\nx=20\r\n", "=E2=82=AC".repeat(long)).into_bytes(),
                );
            }
            3..6 => {
                let kind = self.pick(&[
                    "text/plain; charset=utf-8",
                    "text/html",
                    "TEXT/x-odd;\n charset=\"iso-8859-1\"",
                    "application/json",
                ]);
                fields.push(("Content-Type".to_owned(), format!(" {kind}").into_bytes()));
                let encoding = self.pick(&["", "7bit", "8bit", "8BIT", "8bit"]);
                if !encoding.is_empty() {
                    label(&mut fields, encoding);
                }
                let text = self.text(true);
                return (fields, text);
            }
            6 => {
                fields.push(("Content-Type".to_owned(), b" message/rfc822".to_vec()));
                label(&mut fields, "8bit");
                let (inner, body) = self.entity(depth + 1);
                let mut content = b"Subject: attached \xe4\r\n".to_vec();
                write_fields(&inner, &mut content);
                content.extend_from_slice(&body);
                return (fields, content);
            }
            _ => {}
        }
        let kind = self.pick(&["mixed", "alternative", "related", "mixed"]);
        let boundary = format!("{}b{depth}={}", self.pick(&["", "--", "=_"]), self.below(1000));
        fields.push((
            "Content-Type".to_owned(),
            format!(" multipart/{kind};\n\tboundary=\"{boundary}\"").into_bytes(),
        ));
        if self.one_in(2) {
            label(&mut fields, "8bit");
        }
        let mut body = self.pick(&[&b""[..], b"preamble\r\n", b"This is MIME.\r\n\r\n"]).to_vec();
        for _ in 0..=self.below(3) {
            let (inner, content) = self.entity(depth + 1);
            body.extend_from_slice(format!("--{boundary}{}\r\n", self.pick(&["", "", " "])).as_bytes());
            write_fields(&inner, &mut body);
            body.extend_from_slice(&content);
            if !content.ends_with(b"\r\n") || self.one_in(2) {
                body.extend_from_slice(b"\r\n");
            }
        }
        if !self.one_in(6) {
            body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
            body.extend_from_slice(self.pick(&[&b""[..], b"\r\n", b"epilogue\r\n \r\n"]));
        }
        (fields, body)
    }

    fn text(&mut self, eight_bit: bool) -> Vec<u8> {
        let eight_bit = eight_bit && !self.one_in(3);
        let mut text = Vec::new();
        for _ in 0..self.below(30) {
            match self.below(if eight_bit { 14 } else { 11 }) {
                0 => text.extend_from_slice(b"\r\n"),
                1 => text.extend_from_slice(b".\r\n"),
                2 => text.extend_from_slice(b"..x\r\n"),
                3 => text.extend_from_slice(b"trailing  \t\r\n"),
                4 => text.extend_from_slice(b" \r\n"),
                5 => text.extend_from_slice(b"From here = on\r\n"),
                6 => text.extend_from_slice(b"-- \r\n"),
                7 => text.extend_from_slice(b"\tWhite   space\tin lines\r\n"),
                8 if self.one_in(3) => {
                    let long = 900 + self.below(3000);
                    text.extend((0..long).map(|at| if at % 61 == 0 { b' ' } else { b'a' + (at % 26) as u8 }));
                    text.extend_from_slice(b"\r\n");
                }
                9 => text.extend_from_slice(b"bare\rreturn\r\n"),
                11 => text.extend_from_slice("gr\u{fc}\u{df}e \u{20ac}\r\n".as_bytes()),
                12 => text.extend_from_slice(b"latin \xe4\xf6\xfc \r\n"),
                13 => text.extend((0..2000).map(|at: u32| 0x80 | (at % 120) as u8).chain(*b"\r\n")),
                _ => text.extend_from_slice(b"a line of text\r\n"),
            }
        }
        text
    }
}

/// Fields and the empty line after them.
pub(crate) fn write_fields(fields: &[(String, Vec<u8>)], out: &mut Vec<u8>) {
    for (name, value) in fields {
        out.extend_from_slice(name.as_bytes());
        out.push(b':');
        for (number, line) in value.split(|byte| *byte == b'\n').enumerate() {
            if number > 0 {
                out.extend_from_slice(b"\r\n");
            }
            out.extend_from_slice(line);
        }
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
}
