import ArgumentParser
import Foundation
import Testing

@testable import drp

@Suite("The docs")
struct DocsTests {
    private static let root = (0..<3).reduce(URL(fileURLWithPath: #filePath)) { url, _ in
        url.deletingLastPathComponent()
    }

    /// Lines of code blocks that begin with `drp`, with the page that they stand on.
    private static func commands() throws -> [(page: String, command: String)] {
        let pages =
            FileManager.default.enumerator(atPath: root.appendingPathComponent("docs").path)?
            .compactMap { $0 as? String }.filter { $0.hasSuffix(".md") }.map { "docs/\($0)" } ?? []
        return try (pages + ["README.md", "CONTRIBUTING.md"]).flatMap { page in
            let text = try String(contentsOf: root.appendingPathComponent(page), encoding: .utf8)
            return text.split(separator: "\n").filter { $0.hasPrefix("    ") }
                .map { $0.trimmingCharacters(in: .whitespaces) }.filter { $0.hasPrefix("drp ") }.map { (page, $0) }
        }
    }

    @Test("every command in a code block is one that drp takes")
    func commandsParse() throws {
        let commands = try Self.commands()
        #expect(commands.count >= 15)
        for (page, command) in commands {
            // What a shell does with the output is not drp's.
            let words = command.split(separator: " ").dropFirst().prefix { ![">", "|"].contains($0) }.map(String.init)
            #expect(throws: Never.self, "\(page): \(command)") { _ = try DRP.parseAsRoot(words) }
        }
    }

    @Test("every example in the help of a command is one that drp takes")
    func examplesParse() throws {
        var pending: [any ParsableCommand.Type] = [DRP.self]
        var count = 0
        while let type = pending.popLast() {
            pending += type.configuration.subcommands
            for line in type.configuration.discussion.split(separator: "\n") where line.hasPrefix("  drp ") {
                // What follows two spaces is a remark.
                let text = String(line.dropFirst(2)).components(separatedBy: "  ")[0]
                let words = text.split(separator: " ").dropFirst().map(String.init)
                #expect(throws: Never.self, "\(text)") { _ = try DRP.parseAsRoot(words) }
                count += 1
            }
        }
        #expect(count >= 20)
    }
}
