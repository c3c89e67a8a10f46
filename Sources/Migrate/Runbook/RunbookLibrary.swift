internal import DRPKit
internal import Foundation

/// Where runbooks are looked for by name: the first folder that has `NAME.yaml` wins.
package struct RunbookLibrary: Sendable {
    package var folders: [String]

    package init(folders: [String]) { self.folders = folders }

    /// `runbooks` in the working folder, beside the binary, and two folders above it (`.build/release/drp`).
    /// - Parameter binary: the path of the running program.
    package static func standard(binary: String) -> RunbookLibrary {
        let folder = URL(fileURLWithPath: binary).resolvingSymlinksInPath().deletingLastPathComponent()
        let places = [
            URL(fileURLWithPath: "runbooks"), folder.appendingPathComponent("runbooks"),
            folder.appendingPathComponent("../share/drp/runbooks"), folder.appendingPathComponent("../../runbooks"),
            folder.appendingPathComponent("../../../runbooks"),
        ]
        return RunbookLibrary(folders: places.map { $0.standardizedFileURL.path })
    }

    /// - Parameter name: a runbook's name, never a path.
    /// - Throws: `RunbookError`, also if there is none of that name.
    package func runbook(named name: String, schemas: [String: StepSchema]) throws(RunbookError) -> Runbook {
        guard ClientID(name) != nil else { throw missing(name) }
        for folder in folders {
            let path = "\(folder)/\(name).yaml"
            guard FileManager.default.fileExists(atPath: path) else { continue }
            return try Self.read(path: path, schemas: schemas)
        }
        throw missing(name)
    }

    /// The runbook in the file `path`.
    package static func read(path: String, schemas: [String: StepSchema]) throws(RunbookError) -> Runbook {
        guard let data = FileManager.default.contents(atPath: path) else {
            throw RunbookError(
                file: path, problems: [Problem(file: path, line: 0, column: 0, "the file cannot be read")])
        }
        return try RunbookReader.read(bytes: Array(data), file: path, schemas: schemas)
    }

    /// Names in all folders, sorted.
    package func names() -> [String] {
        let files = folders.flatMap { folder in
            // A folder that is not there has no runbooks.
            (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        }
        return Set(files.filter { $0.hasSuffix(".yaml") }.map { String($0.dropLast(5)) }).sorted()
    }

    private func missing(_ name: String) -> RunbookError {
        let known = names()
        let advice = Nearest.advice(for: name, among: known) + "; looked in \(folders.joined(separator: ", "))"
        return RunbookError(
            file: name,
            problems: [Problem(file: name, line: 0, column: 0, "there is no runbook of this name", advice: advice)])
    }
}
