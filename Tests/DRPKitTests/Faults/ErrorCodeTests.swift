import DRPKit
import Foundation
import Testing

@Suite("Error codes")
struct ErrorCodeTests {
    private static let page = (0..<4).reduce(URL(fileURLWithPath: #filePath)) { url, _ in
        url.deletingLastPathComponent()
    }.appendingPathComponent("docs/reference/errors.md").path

    @Test("the page of errors says what the table says; RECORD=1 writes it anew")
    func page() throws {
        var lines = [
            "# Errors", "",
            "Generated from `Sources/DRPKit/Faults/ErrorCode.swift`: `RECORD=1 script/test --filter ErrorCodeTests`.",
            "",
            "| code | exit | name | what to do next |", "| --- | --- | --- | --- |",
        ]
        for code in ErrorCode.allCases.sorted(by: { $0.rawValue < $1.rawValue }) {
            lines.append("| \(code.rawValue) | \(code.exitStatus) | \(code) | \(code.advice) |")
        }
        let text = lines.joined(separator: "\n") + "\n"
        if ProcessInfo.processInfo.environment["RECORD"] == "1" {
            try text.write(toFile: Self.page, atomically: true, encoding: .utf8)
        }
        #expect(try String(contentsOfFile: Self.page, encoding: .utf8) == text)
    }

    @Test("each code has advice, and an exit status of the design's table")
    func statuses() {
        let known: Set<Int32> = [1, 2, 3, 10, 11, 12, 13, 20, 21, 30, 31, 32, 40, 41, 75]
        for code in ErrorCode.allCases {
            #expect(known.contains(code.exitStatus))
            #expect(code.advice.hasSuffix("."))
        }
    }
}
