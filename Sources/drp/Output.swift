internal import Backup
internal import DRPKit
internal import Foundation

/// What a command answers: one value, shown as text for people or as JSON for machines.
protocol Answer: Encodable {
    /// Lines for a terminal of 100 columns, without a final newline.
    var text: String { get }
}

/// Answers go to stdout, everything else to stderr.
enum Output {
    static func answer(_ answer: some Answer, json: Bool) throws {
        write(json ? try encode(answer) : answer.text, to: .standardOutput)
    }

    static func encode(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        encoder.dateEncodingStrategy = .custom { date, encoder in
            var container = encoder.singleValueContainer()
            try container.encode(Text.time(date))
        }
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }

    static func say(_ text: String) { write(text, to: .standardOutput) }

    static func note(_ line: String) { write(line, to: .standardError) }

    static func error(_ error: any Error, json: Bool) {
        let code = (error as? any DRPError)?.code ?? .failed
        let message = (error as? any DRPError)?.message ?? "\(error)"
        let advice = (error as? any DRPError)?.advice ?? code.advice
        if json, let text = try? encode(ErrorAnswer(error: code.rawValue, message: message, advice: advice)) {
            // Encoding three strings cannot fail; if it did, the plain form below still tells.
            write(text, to: .standardError)
        } else {
            write("drp: error \(code.rawValue): \(Text.safe(message))\n  next: \(advice)", to: .standardError)
        }
    }

    private static func write(_ text: String, to handle: FileHandle) {
        // A reader that went away (`drp … | head`) is no failure of the command.
        try? handle.write(contentsOf: Data((text + "\n").utf8))
    }

    private struct ErrorAnswer: Encodable {
        var error: String
        var message: String
        var advice: String
    }
}

/// How values look to people.
enum Text {
    /// `2026-11-25T09:30:12.345Z`
    static func time(_ date: Date) -> String {
        date.formatted(
            .iso8601.year().month().day().dateSeparator(.dash).dateTimeSeparator(.standard)
                .time(includingFractionalSeconds: true).timeSeparator(.colon).timeZone(separator: .omitted))
    }

    /// `2026-11-25 09:30:12 UTC`
    static func shortTime(_ date: Date) -> String {
        String(time(date).prefix(19)).replacingOccurrences(of: "T", with: " ") + " UTC"
    }

    /// `0.4 s`, `12.3 s`, `3 min 12 s`, `2 h 05 min`, `1 d`
    static func seconds(_ seconds: Double) -> String {
        func two(_ large: Int, _ unit: String, _ small: Int, _ part: String) -> String {
            small == 0 ? "\(large) \(unit)" : "\(large) \(unit) \(pad(small)) \(part)"
        }
        switch seconds {
        case ..<60: return "\((seconds * 10).rounded() / 10) s"
        case ..<3600: return two(Int(seconds) / 60, "min", Int(seconds) % 60, "s")
        case ..<86400: return two(Int(seconds) / 3600, "h", Int(seconds) / 60 % 60, "min")
        default: return two(Int(seconds) / 86400, "d", Int(seconds) / 3600 % 24, "h")
        }
    }

    private static func pad(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }

    static func bytes(_ bytes: Int64) -> String { ByteCount(bytes).description }

    /// `0.3 %`, `12 %`
    static func percent(_ share: Double) -> String {
        share >= 10 || share == 0 ? "\(Int(share.rounded())) %" : "\((share * 10).rounded() / 10) %"
    }

    /// `3.14`
    static func ratio(_ ratio: Double) -> String { "\((ratio * 100).rounded() / 100)" }

    /// `1,234,567`
    static func count(_ number: Int64) -> String {
        var digits = String(number.magnitude)
        var groups: [String] = []
        while digits.count > 3 {
            groups.insert(String(digits.suffix(3)), at: 0)
            digits.removeLast(3)
        }
        return (number < 0 ? "-" : "") + ([digits] + groups).joined(separator: ",")
    }

    /// `1-4, 7`; `-` for none.
    static func numbers(_ numbers: [Int]) -> String {
        var spans: [ClosedRange<Int>] = []
        for number in numbers.sorted() {
            if let last = spans.last, number <= last.upperBound + 1 {
                spans[spans.count - 1] = last.lowerBound...max(number, last.upperBound)
            } else {
                spans.append(number...number)
            }
        }
        guard !spans.isEmpty else { return "-" }
        return spans.map { $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound)" }
            .joined(separator: ", ")
    }

    /// Names from outside, with control characters escaped so that they cannot steer a terminal.
    static func safe(_ text: String) -> String {
        var out = ""
        for scalar in text.unicodeScalars {
            if scalar == "\n" || scalar.properties.generalCategory != .control {
                out.unicodeScalars.append(scalar)
            } else {
                out += "\\x" + String(scalar.value, radix: 16)
            }
        }
        return out
    }

    /// Columns padded to their widest cell, two spaces apart; the last column is not padded.
    static func table(_ rows: [[String]], indent: String = "") -> String {
        let columns = rows.map(\.count).max() ?? 0
        let widths = (0..<columns).map { column in rows.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0 }
        return rows.map { row in
            let line = row.enumerated().map { column, cell in
                column == row.count - 1 ? cell : cell + String(repeating: " ", count: widths[column] - cell.count)
            }
            return indent + line.joined(separator: "  ")
        }.joined(separator: "\n")
    }
}
