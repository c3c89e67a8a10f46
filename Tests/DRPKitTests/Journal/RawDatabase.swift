import Foundation

/// Another process that opens the journal's file with SQLite of its own, and knows nothing of drp: Python's.
struct RawDatabase {
    static let isAvailable = FileManager.default.isExecutableFile(atPath: "/usr/bin/python3")

    let path: String

    /// Runs Python statements with `db` (autocommit) open; returns what they print.
    @discardableResult
    func run(_ statements: String) throws -> String {
        let process = try start(statements)
        let output = process.output.fileHandleForReading.readDataToEndOfFile()
        process.process.waitUntilExit()
        guard process.process.terminationStatus == 0 else { throw CocoaError(.executableLoad) }
        return String(decoding: output, as: UTF8.self)
    }

    struct Child {
        let process: Process
        let output: Pipe
        let input: Pipe

        /// Waits until the child prints a line.
        func waitForLine() -> String {
            var line = Data()
            while let byte = try? output.fileHandleForReading.read(upToCount: 1), !byte.isEmpty, byte != Data("\n".utf8)
            {
                line += byte
            }
            return String(decoding: line, as: UTF8.self)
        }

        func kill() {
            Foundation.kill(process.processIdentifier, SIGKILL)
            process.waitUntilExit()
        }
    }

    func start(_ statements: String) throws -> Child {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/python3")
        let head = "import os, sqlite3, sys\ndb = sqlite3.connect(sys.argv[1], timeout=10, isolation_level=None)\n"
        process.arguments = ["-c", head + statements, path]
        let child = Child(process: process, output: Pipe(), input: Pipe())
        process.standardOutput = child.output
        process.standardInput = child.input
        try process.run()
        return child
    }
}
