import Foundation

/// A Swift file as the architecture tests read it: its place, its text, and its code alone.
struct SourceText {
    /// Relative to the package, with `/`: `Sources/DRPKit/System/WallClock.swift`.
    let path: String
    let text: String
    /// The text with comments and the inside of string literals blanked, line for line.
    let code: [Substring]

    init(path: String, text: String) {
        self.path = path
        self.text = text
        code = Self.withoutCommentsAndStrings(text).split(separator: "\n", omittingEmptySubsequences: false)
    }

    /// The package's folder, found from this very file.
    static let package = URL(filePath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    /// Every Swift file below these folders of the package, in order of path.
    static func all(in folders: [String]) throws -> [SourceText] {
        var paths: [String] = []
        for folder in folders {
            let root = package.appending(path: folder).path(percentEncoded: false)
            let below = FileManager.default.enumerator(atPath: root)
            while let path = below?.nextObject() as? String {
                guard path.hasSuffix(".swift") else { continue }
                paths.append("\(folder)/\(path)")
            }
        }
        return try paths.sorted().map { path in
            SourceText(path: path, text: try String(contentsOf: package.appending(path: path), encoding: .utf8))
        }
    }

    /// Module names of the import declarations, each with its line, from 1.
    var imports: [(module: String, line: Int)] {
        code.enumerated().compactMap { index, line in
            let words = line.split(whereSeparator: \.isWhitespace)
            guard let keyword = words.firstIndex(of: "import"), keyword + 1 < words.endIndex else { return nil }
            let modifiers = words[..<keyword]
            let known = modifiers.allSatisfy { $0.hasPrefix("@") || Self.accessLevels.contains(String($0)) }
            guard known else { return nil }
            var name = words[keyword + 1]
            if Self.importKinds.contains(String(name)), keyword + 2 < words.endIndex { name = words[keyword + 2] }
            return (String(name.prefix { $0 != "." }), index + 1)
        }
    }

    private static let accessLevels: Set<String> = ["public", "package", "internal", "fileprivate", "private"]
    private static let importKinds: Set<String> = [
        "class", "enum", "func", "let", "protocol", "struct", "typealias", "var",
    ]

    /// Knows line comments, nested block comments, and string literals of one or many lines, raw ones included. What
    /// stands inside an interpolation counts as string.
    static func withoutCommentsAndStrings(_ text: String) -> String {
        let bytes = Array(text.utf8)
        var out: [UInt8] = []
        out.reserveCapacity(bytes.count)
        var at = 0
        func begins(_ word: String, _ place: Int) -> Bool {
            bytes[min(place, bytes.count)...].starts(with: word.utf8)
        }
        func skip(to end: Int) {
            while at < min(end, bytes.count) {
                if bytes[at] == UInt8(ascii: "\n") { out.append(bytes[at]) }
                at += 1
            }
        }
        while at < bytes.count {
            if begins("//", at) {
                skip(to: bytes[at...].firstIndex(of: UInt8(ascii: "\n")) ?? bytes.count)
            } else if begins("/*", at) {
                var depth = 0
                repeat {
                    if begins("/*", at) {
                        depth += 1
                        skip(to: at + 2)
                    } else if begins("*/", at) {
                        depth -= 1
                        skip(to: at + 2)
                    } else {
                        skip(to: at + 1)
                    }
                } while depth > 0 && at < bytes.count
            } else if let end = literalEnd(bytes, from: at) {
                out += "\"\"".utf8
                skip(to: end)
            } else {
                out.append(bytes[at])
                at += 1
            }
        }
        return String(decoding: out, as: UTF8.self)
    }

    /// Where the string literal that begins at `start` ends, or nil if none begins there.
    private static func literalEnd(_ bytes: [UInt8], from start: Int) -> Int? {
        let quote = UInt8(ascii: "\"")
        let hashes = bytes[start...].prefix { $0 == UInt8(ascii: "#") }.count
        var at = start + hashes
        guard at < bytes.count, bytes[at] == quote else { return nil }
        let quotes = bytes[at...].starts(with: [quote, quote, quote]) ? 3 : 1
        let closing = [UInt8](repeating: quote, count: quotes) + [UInt8](repeating: UInt8(ascii: "#"), count: hashes)
        at += quotes
        while at < bytes.count {
            if bytes[at...].starts(with: closing) { return at + closing.count }
            if quotes == 1, bytes[at] == UInt8(ascii: "\n") { return at }
            at += hashes == 0 && bytes[at] == UInt8(ascii: "\\") ? 2 : 1
        }
        return bytes.count
    }
}
