import Foundation
import TestSupport
import Testing

@testable import DRPKit

@Suite struct IdentifiersTests {
    /// Letters that names are made of, and what shells, paths, terminals, YAML and DNS take for something else.
    private static let alphabet = Array(
        "abz019---AZ_. /\\$`;|&<>(){}[]*?!~#'\"%=:,@+^ \t\n\r\u{0}\u{7f}\u{1b}\u{9b}\u{e9}\u{430}\u{2028}\u{202e}\u{ff0f}\u{e000}"
            .unicodeScalars)

    private static func text(_ random: inout SeededGenerator, upTo length: Int) -> String {
        var text = String.UnicodeScalarView()
        for _ in 0..<Int.random(in: 0...length, using: &random) {
            // Half of them plain, so that many names are nearly right.
            let part = Bool.random(using: &random) ? alphabet[0..<9] : alphabet[...]
            text.append(part.randomElement(using: &random)!)
        }
        return String(text)
    }

    private static func isName(_ text: String) -> Bool {
        text.wholeMatch(of: /[a-z0-9]([a-z0-9\-]{0,61}[a-z0-9])?/) != nil
    }

    @Test("of seeded texts, names are those of a DNS label and no others, read from text or from JSON")
    func seeded() throws {
        let seed: UInt64 = 0x5eed_0014
        var random = SeededGenerator(seed: seed)
        var accepted = 0
        for _ in 0..<20_000 {
            let text = Self.text(&random, upTo: Bool.random(using: &random) ? 6 : 70)
            let isName = Self.isName(text)
            #expect((ClientID(text) != nil) == isName, "\(text.debugDescription), seed \(seed)")
            #expect((SiteName(text) != nil) == isName && (StoreName(text) != nil) == isName, "seed \(seed)")
            accepted += isName ? 1 : 0
            let json = try JSONEncoder().encode([text])
            #expect(((try? JSONDecoder().decode([ClientID].self, from: json)) != nil) == isName, "seed \(seed)")
        }
        #expect(accepted > 1000)
    }

    @Test("63 characters are a name, 64 are not")
    func length() {
        #expect(ClientID(String(repeating: "a", count: 63)) != nil)
        #expect(ClientID(String(repeating: "a", count: 64)) == nil)
    }

    @Test("wherever a name stands in the fleet file, a hostile one is a problem, in words that a terminal can show")
    func inFleet() throws {
        let folder = try FleetFolder()
        let places = [
            ("office: {}", "office: {}\n  NAME: {}"), ("disk: {site", "NAME: {site: office, folder: x}\n  disk: {site"),
            ("standard: {schedule", "NAME: {schedule: daily 01:00, stores: [disk]}\n  standard: {schedule"),
            ("staging: {policy", "NAME: {policy: standard}\n  staging: {policy"), ("id: acme", "id: NAME"),
            ("site: paris", "site: NAME"), ("environment: production", "environment: NAME"),
            ("stores: [disk]", "stores: [disk, NAME]"), ("port: 8081", "port: 8081, secrets: {NAME: {env: A}}"),
            ("priority: 1", "policy: NAME"),
        ]
        let seed: UInt64 = 0x5eed_0015
        var random = SeededGenerator(seed: seed)
        for _ in 0..<40 {
            let name = Self.text(&random, upTo: 12)
            guard !Self.isName(name) else { continue }
            // JSON's strings are YAML's.
            let quoted = String(decoding: try JSONEncoder().encode(name), as: UTF8.self)
            for (old, new) in places {
                let problems = try folder.problems(FleetText.dull(old, new.replacing("NAME", with: quoted)))
                #expect(!problems.isEmpty, "\(new) \(quoted), seed \(seed)")
                for problem in problems {
                    #expect(problem.unicodeScalars.allSatisfy(Printable.isPlain), "\(problem), seed \(seed)")
                }
            }
        }
    }
}
