import DRPKit
import Testing

@Suite struct YAMLDocumentTests {
    private func problems(_ text: String) -> [String] {
        YAMLDocument.parse(text: text, file: "f.yaml").problems.map(\.description)
    }

    @Test("order, lines and columns of a file are kept")
    func keepsPlaces() throws {
        let (root, problems) = YAMLDocument.parse(text: "b: 1\na:\n  - x\n  - {k: 'y'}\n", file: "f.yaml")
        #expect(problems.isEmpty)
        let entries = try #require(root?.mapping)
        #expect(entries.map(\.key) == ["b", "a"])
        #expect(entries[1].line == 2 && entries[1].column == 1)
        let list = try #require(entries[1].value.sequence)
        #expect(list[0].scalar == "x" && list[0].line == 3 && list[0].column == 5)
        #expect(list[1]["k"]?.content == .scalar("y", isPlain: false))
        #expect(list[1].line == 4)
    }

    @Test("nothing, ~ and null are null; quoted they are text", arguments: ["", "~", "null"])
    func knowsNull(text: String) throws {
        let (root, problems) = YAMLDocument.parse(text: "a: \(text)\nb: '\(text)'\n", file: "f.yaml")
        #expect(problems.isEmpty)
        #expect(root?["a"]?.isNull == true && root?["a"]?.scalar == nil)
        #expect(root?["b"]?.isNull == false && root?["b"]?.scalar == text)
    }

    @Test("an anchor, an alias and a merge key are refused with their line")
    func refusesAliases() {
        #expect(
            problems("a: 1\nb: &x [1]\nc: *x\n").first
                == "f.yaml:2:4: error: anchors and aliases are not allowed here (write the value out)")
        #expect(
            problems("a: *x\n") == [
                "f.yaml:1:4: error: anchors and aliases are not allowed here (quote a text that begins with '*' or '&')"
            ])
        #expect(problems("cron: */5 * * * *\n").first?.contains("quote a text that begins with '*'") == true)
        #expect(!problems("&a k: 1\n").isEmpty)
        #expect(!problems("&a k: 1\n*a : 2\n").isEmpty)
    }

    @Test("a billion laughs are refused at once, as values and as keys")
    func refusesBombs() {
        for shape in ["[%]", "{? [%] : 1}", "[[%], {a: [%]}]"] {
            for fan in [2, 3, 9] {
                var text = "a0: &a0 [lol]\n"
                for level in 1...30 {
                    let inner = Array(repeating: "*a\(level - 1)", count: fan).joined(separator: ",")
                    text += "a\(level): &a\(level) \(shape.replacing("%", with: inner))\n"
                }
                #expect(!problems(text).isEmpty)
            }
        }
        // Few enough aliases to pass the sieve: refused on the tree, without unfolding.
        var text = "a0: &a0 [lol]\n"
        for level in 1...10 { text += "a\(level): &a\(level) [*a\(level - 1), *a\(level - 1), *a\(level - 1)]\n" }
        #expect(problems(text).allSatisfy { $0.contains("anchors and aliases") })
        #expect(!problems(text).isEmpty)
    }

    @Test("depth is capped at 32 collections", arguments: [33, 100, 1000, 100_000])
    func capsDepth(depth: Int) {
        let open = String(repeating: "[", count: depth)
        let close = String(repeating: "]", count: depth)
        // Past 1000 libyaml ends first, in words of its own.
        let words = depth < 1000 ? "levels deep" : "error"
        #expect(problems("a: \(open)\(close)\n").first?.contains(words) == true)
        #expect(!problems(open).isEmpty)
        let dashes = String(repeating: "- ", count: depth)
        #expect(problems("\(dashes)x\n").first?.contains(words) == true)
        var maps = ""
        for level in 0..<min(depth, 400) { maps += String(repeating: " ", count: level) + "a:\n" }
        #expect(problems(maps).first?.contains("levels deep") == true)
    }

    @Test("32 levels are read")
    func readsDeep() {
        let text = String(repeating: "[", count: 32) + String(repeating: "]", count: 32)
        #expect(problems(text) == [])
    }

    @Test("10 MB are refused before they are parsed; 4 MiB of keys are read")
    func capsSize() {
        let large = [UInt8](repeating: 0x61, count: 10 << 20)
        #expect(
            YAMLDocument.parse(bytes: large, file: "f.yaml").problems.map(\.description)
                == ["f.yaml: error: the file is larger than 4 MiB"])
        #expect(problems(String(repeating: "a", count: 10 << 20)).count == 1)
    }

    @Test("a key that stands twice is named with its line")
    func namesDuplicates() {
        #expect(
            problems("a: 1\nb:\n  c: 1\n  c: 2\n") == [
                "f.yaml:3:3: error: 'c' stands twice in one mapping (keep one of them)"
            ])
    }

    @Test("broken YAML is a problem with a line, never a crash")
    func namesSyntax() {
        #expect(problems("a: [1, 2\nb: 3\n").first?.hasPrefix("f.yaml:2:") == true)
        #expect(problems("a: 'x\n").first?.contains("not valid YAML") == true)
        #expect(problems("a: 1\n---\nb: 1\n").count == 1)
        #expect(problems("") == ["f.yaml: error: the file is empty"])
        #expect(problems("a: \u{1}\n").first?.contains("not valid YAML") == true)
        #expect(
            YAMLDocument.parse(bytes: [0x61, 0x3a, 0xff], file: "f").problems.first?.message
                == "the file is not UTF-8 text")
        #expect(problems("? [a, b]\n: 1\n").first?.contains("a key must be plain text") == true)
        #expect(problems("\u{0}").isEmpty == false)
    }

    @Test("every truncation and seeded damage of a file ends in an answer")
    func survivesDamage() {
        let text = Array(
            "a: &x {b: [1, \"two\", 'three'], c: |\n  text\n  more\n, d: !!str 5}\n? k\n: *x\n- q\n%TAG\n".utf8)
        for length in 0...text.count { _ = YAMLDocument.parse(bytes: Array(text[0..<length]), file: "f") }
        let seed: UInt64 = 0x5eed_0001
        var state = seed
        func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state >> 33
        }
        let alphabet = Array("a:-[]{}&*!|>'\"%@`?,# \n\t0\u{85}".utf8)
        for _ in 0..<2000 {
            var bytes = text
            for _ in 0..<(1 + next() % 6) {
                bytes[Int(next() % UInt64(bytes.count))] = alphabet[Int(next() % UInt64(alphabet.count))]
            }
            let (root, problems) = YAMLDocument.parse(bytes: bytes, file: "f")
            #expect(root != nil || !problems.isEmpty, "seed \(seed)")
        }
    }
}
