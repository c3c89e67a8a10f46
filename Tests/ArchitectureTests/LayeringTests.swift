import Foundation
import Testing

/// Which files may import what, and which words may stand where: the picture of the house, held by a test, since the
/// compiler takes an undeclared import of a sibling that was built before. A new rule or exception is a line here.
@Suite("The house")
struct LayeringTests {
    @Test("imports run in one direction, and each library has one importer")
    func importsFollowTheTable() throws {
        let sources = try SourceText.all(in: ["Sources", "Tests"])
        try #require(sources.count > 10)
        let findings = sources.flatMap(Self.importFindings)
        #expect(findings.isEmpty, "\(findings.joined(separator: "\n"))")
    }

    @Test("time, randomness, output and crashes stand only where they may")
    func bannedWordsStandNowhere() throws {
        let findings = try SourceText.all(in: ["Sources"]).flatMap(Self.wordFindings)
        #expect(findings.isEmpty, "\(findings.joined(separator: "\n"))")
    }

    @Test(
        "a planted import is found",
        arguments: [
            ("Sources/DRPKit/Values/X.swift", "import Backup"),
            ("Sources/Backup/Stores/X.swift", "internal import Migrate"),
            ("Sources/Backup/Stores/X.swift", "package import CMongoC"),
            ("Sources/Migrate/Engine/X.swift", "@preconcurrency import struct Backup.Manifest"),
            ("Sources/DRPKit/Fleet/X.swift", "import Yams"),
            ("Sources/Backup/Repository/X.swift", "import NIOCore"),
            ("Sources/Migrate/Steps/X.swift", "import ArgumentParser"),
            ("Sources/DRPKit/Values/X.swift", "import NeverHeardOf"),
            ("Tests/DRPKitTests/X.swift", "@testable import Backup"),
        ])
    func plantedImport(path: String, line: String) {
        #expect(Self.importFindings(SourceText(path: path, text: "// import Yams\n\(line)\n")).count == 1)
    }

    @Test("a planted word is found in code, and left alone in comments and strings")
    func plantedWords() {
        func findings(_ text: String) -> Int {
            Self.wordFindings(SourceText(path: "Sources/Migrate/X.swift", text: text)).count
        }
        #expect(findings("let now = Date()") == 1)
        #expect(findings("print(1)") == 1)
        #expect(findings("final class A: @unchecked Sendable {}") == 1)
        #expect(findings("/// Guarded by the lock alone.\nfinal class A: @unchecked Sendable {}") == 0)
        #expect(findings("// Date()\n/* print( /* try! */ fatalError( */ let a = \"Date() \\\" try!\"") == 0)
        #expect(findings("let a = #\"\"\"\n  print(\"x\") try!\n  \"\"\"#; try! b()") == 1)
        #expect(findings("writer.print(1); let footprint = (blueprint(1), lastUpdate())") == 0)
    }

    // MARK: Imports

    /// What everybody may import.
    private static let common: Set<String> = [
        "Dispatch", "Foundation", "Glibc", "Logging", "Synchronization",
    ]

    /// Our targets: the longest prefix of a path says which of them it may import.
    private static let targets: [(prefix: String, modules: Set<String>)] = [
        ("Sources/DRPKit/", []),
        ("Sources/Backup/", ["DRPKit"]),
        ("Sources/Migrate/", ["DRPKit"]),
        ("Sources/Migrate/Steps/", ["Backup", "DRPKit"]),
        ("Sources/Migrate/Checks/", ["Backup", "DRPKit"]),
        ("Sources/drp/", ["Backup", "DRPKit", "Migrate"]),
        ("Tests/TestSupport/", ["Backup", "DRPKit", "Migrate"]),
        ("Tests/ArchitectureTests/", []),
        ("Tests/DRPKitTests/", ["DRPKit", "TestSupport"]),
        ("Tests/BackupTests/", ["Backup", "DRPKit", "TestSupport"]),
        ("Tests/MigrateTests/", ["Backup", "DRPKit", "Migrate", "TestSupport"]),
        ("Tests/drpTests/", ["Backup", "DRPKit", "Migrate", "TestSupport", "drp"]),
    ]

    /// Libraries: who may import them. A path that ends in `/` stands for the folder.
    private static let libraries: [(modules: Set<String>, importers: [String])] = [
        (["GRDB"], ["Sources/DRPKit/Journal/", "Tests/DRPKitTests/Journal/"]),
        (["Yams"], ["Sources/DRPKit/Values/YAMLDocument.swift"]),
        (["Subprocess", "SystemPackage", "System"], ["Sources/DRPKit/Transport/CommandRunner.swift"]),
        (["CCurl"], ["Sources/DRPKit/Transport/CurlClient.swift"]),
        (["CMongoC"], ["Sources/Backup/Mongo/"]),
        (["CZstd"], ["Sources/Backup/Repository/Compression.swift"]),
        (
            ["NIOCore", "NIOPosix", "NIOSSL", "NIOConcurrencyHelpers"],
            [
                "Sources/Backup/Redis/", "Sources/Migrate/Traffic/",
                "Tests/BackupTests/Redis/", "Tests/MigrateTests/Traffic/",
            ]
        ),
        (
            ["Crypto"],
            [
                "Sources/DRPKit/Values/", "Sources/DRPKit/Journal/", "Sources/DRPKit/Transport/",
                "Sources/Backup/BSON/", "Sources/Backup/Mongo/", "Sources/Backup/RDB/", "Sources/Backup/Redis/",
                "Sources/Backup/Stores/", "Sources/Backup/Repository/", "Sources/Migrate/Runbook/",
                "Sources/Migrate/Traffic/", "Tests/",
            ]
        ),
        (["FoundationXML"], ["Sources/DRPKit/Values/XMLElement.swift"]),
        (["CryptoExtras"], ["Sources/Backup/Repository/FingerprintList.swift"]),
        (["ArgumentParser"], ["Sources/drp/", "Tests/drpTests/DocsTests.swift"]),
        (["UnixSignals"], ["Sources/drp/"]),
        (["ServiceLifecycle"], ["Sources/DRPKit/Jobs/SchedulerService.swift", "Sources/drp/"]),
        (["Testing"], ["Tests/"]),
    ]

    static func importFindings(_ source: SourceText) -> [String] {
        source.imports.compactMap { module, line in
            if common.contains(module) { return nil }
            if targets.contains(where: { $0.prefix.hasSuffix("/\(module)/") }) {
                let rule = targets.filter { source.path.hasPrefix($0.prefix) }.max { $0.prefix.count < $1.prefix.count }
                if rule?.modules.contains(module) == true { return nil }
                return "\(source.path):\(line): \(module) may not be imported from here"
            }
            guard let library = libraries.first(where: { $0.modules.contains(module) }) else {
                return "\(source.path):\(line): no rule for \(module): add one to LayeringTests.swift"
            }
            if library.importers.contains(where: source.path.hasPrefix) { return nil }
            return "\(source.path):\(line): \(module) is imported only by \(library.importers.joined(separator: ", "))"
        }
    }

    // MARK: Words

    private struct BannedWord {
        var word: String
        var instead: String
        /// Files, or folders that end in `/`.
        var allowed: [String] = []
        /// Allowed anywhere with a comment on the line or on the one above.
        var orWithComment = false
    }

    private static let words = [
        BannedWord(word: "Date()", instead: "WallClock.now", allowed: ["Sources/DRPKit/System/"]),
        BannedWord(word: "Date.now", instead: "WallClock.now", allowed: ["Sources/DRPKit/System/"]),
        BannedWord(word: "Date(timeIntervalSinceNow", instead: "WallClock.now", allowed: ["Sources/DRPKit/System/"]),
        BannedWord(word: "Task.sleep", instead: "WallClock.sleep", allowed: ["Sources/DRPKit/System/"]),
        BannedWord(word: "Task.detached", instead: "a structured task, or OwnThread"),
        BannedWord(word: "print(", instead: "Output"),
        BannedWord(word: "try!", instead: "try, and an error that says what happened"),
        BannedWord(word: "fatalError", instead: "precondition with the state in its text, or an error"),
        BannedWord(word: "@unchecked Sendable", instead: "a comment above that proves it", orWithComment: true),
        BannedWord(word: ".random(", instead: "DRPKit/System/Randomness", allowed: ["Sources/DRPKit/System/"]),
    ]

    static func wordFindings(_ source: SourceText) -> [String] {
        let lines = source.text.split(separator: "\n", omittingEmptySubsequences: false)
        var findings: [String] = []
        for (index, code) in source.code.enumerated() {
            for banned in words where contains(code, banned.word) {
                if banned.allowed.contains(where: source.path.hasPrefix) { continue }
                let nearby = lines[max(0, index - 1)...index]
                if banned.orWithComment, nearby.contains(where: { $0.contains("//") }) { continue }
                findings.append("\(source.path):\(index + 1): instead of '\(banned.word)': \(banned.instead)")
            }
        }
        return findings
    }

    /// As a word of its own: neither `lastUpdate()` nor `writer.print(`.
    private static func contains(_ line: Substring, _ word: String) -> Bool {
        var rest = line
        while let found = rest.range(of: word) {
            let before = found.lowerBound == line.startIndex ? " " : line[line.index(before: found.lowerBound)]
            let partOfName = before.isLetter || before.isNumber || before == "_" || before == "."
            if word.first == "." || word.first == "@" || !partOfName { return true }
            rest = rest[found.upperBound...]
        }
        return false
    }
}
