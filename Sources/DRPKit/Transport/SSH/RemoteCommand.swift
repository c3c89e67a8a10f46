internal import Foundation

/// A command as it is sent to a host's login shell, which must be of POSIX's kind, and its answer as it comes back.
///
/// sshd gives the shell one line. In it every argument stands in single quotes, so that it arrives as exactly one argument,
/// whatever it holds. Two marks that nobody can guess frame the output: what a shell's start files or a banner write stands
/// outside, and a channel that was cut lacks the second mark.
struct RemoteCommand {
    /// A line of the kernel for one argument is at most 128 KiB long (MAX_ARG_STRLEN); the line is one, here and there.
    static let maximumLine = 100 << 10

    let line: String
    private let begin: [UInt8]
    private let end: [UInt8]

    /// - Parameter mark: letters and digits, new for each command.
    init(_ arguments: [String], mark: String) throws(RemoteCommandError) {
        guard let program = arguments.first, !program.isEmpty, !program.hasPrefix("-") else {
            throw RemoteCommandError(cause: "it names no program")
        }
        guard arguments.allSatisfy({ !$0.utf8.contains(0) }) else {
            throw RemoteCommandError(cause: "an argument holds a zero byte")
        }
        let words = arguments.map(Self.quote).joined(separator: " ")
        line =
            "printf '\\n%s\\n' drp-\(mark)-begin; (exec \(words)); printf '\\n%s %d\\n' drp-\(mark)-end \"$?\""
        guard line.utf8.count <= Self.maximumLine else {
            throw RemoteCommandError(cause: "its arguments are longer than \(Self.maximumLine) bytes")
        }
        begin = Array("\ndrp-\(mark)-begin\n".utf8)
        end = Array("\ndrp-\(mark)-end ".utf8)
    }

    /// For a POSIX shell (XCU 2.2.2): nothing is special between single quotes but the quote itself.
    static func quote(_ argument: String) -> String {
        // By scalars: a character of Swift can hold a quote together with a combining mark.
        var text = String.UnicodeScalarView("'".unicodeScalars)
        for scalar in argument.unicodeScalars {
            if scalar == "'" { text.append(contentsOf: "'\\''".unicodeScalars) } else { text.append(scalar) }
        }
        text.append("'")
        return String(text)
    }

    /// - Returns: nil unless both marks and a status are there.
    func answer(in output: [UInt8]) -> (status: Int32, output: [UInt8])? {
        guard let start = output.firstRange(of: begin)?.upperBound,
            let stop = output[start...].lastRange(of: end)
        else { return nil }
        let rest = output[stop.upperBound...]
        guard let newline = rest.firstIndex(of: 0x0a),
            let status = Int32(String(decoding: rest[..<newline], as: UTF8.self))
        else { return nil }
        return (status, Array(output[start..<stop.lowerBound]))
    }
}

/// Why a command cannot be sent.
struct RemoteCommandError: Error {
    var cause: String
}

extension Collection where Element == UInt8, Index == Int {
    fileprivate func lastRange(of wanted: [UInt8]) -> Range<Int>? {
        guard count >= wanted.count else { return nil }
        var start = endIndex - wanted.count
        while start >= startIndex {
            if self[start] == wanted[0], self[start..<start + wanted.count].elementsEqual(wanted) {
                return start..<start + wanted.count
            }
            start -= 1
        }
        return nil
    }
}
