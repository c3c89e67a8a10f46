internal import Foundation

/// The fleet file is missing or wrong.
package struct FleetError: DRPError {
    package enum Reason: Sendable, Hashable {
        case missing
        case unreadable(String)
        /// All problems, warnings included.
        case invalid([Problem])
    }

    package var reason: Reason
    package var path: String

    package init(reason: Reason, path: String) {
        self.reason = reason
        self.path = path
    }

    package var code: ErrorCode {
        switch reason {
        case .missing, .unreadable: .fleetMissing
        case .invalid: .fleetInvalid
        }
    }

    package var message: String {
        switch reason {
        case .missing: return "there is no fleet file at \(path)"
        case .unreadable(let cause): return "the fleet file \(path) cannot be read: \(cause)"
        case .invalid(let problems):
            let errors = problems.count { $0.severity == .error }
            let lines = problems.map { "\n" + $0.description }.joined()
            return "the fleet file \(path) has \(errors) \(errors == 1 ? "error" : "errors")" + lines
        }
    }
}

/// Reads a fleet file, or a folder of them, into values; all problems at once.
package enum FleetReader {
    /// The most files of a folder.
    private static let maximumFiles = 1000

    /// - Parameter path: A YAML file, or a folder whose `*.yaml` and `*.yml` files are merged.
    /// - Returns: The fleet, unless a problem is an error; and all problems in the order of the files.
    ///   Relative paths in the fleet are made absolute from the folder of the file that holds them.
    /// - Throws: `.missing`, `.unreadable`.
    package static func read(_ path: String) throws(FleetError) -> (fleet: Fleet?, problems: [Problem]) {
        let notes = ReadingNotes()
        var parts: [(source: SourceFile, root: YAMLNode)] = []
        for file in try files(at: path) {
            if let root = try parse(file, notes) { parts.append((source(of: file), root)) }
        }
        let fleet = FleetSections(parts: parts, notes: notes).read(whole: path)
        notes.checkReferences()
        if let fleet { FleetValidator(fleet: fleet, notes: notes).check() }
        let problems = notes.problems.inOrder()
        return (problems.hasErrors ? nil : fleet, problems)
    }

    /// - Throws: as `read`, and `.invalid` with all problems if one of them is an error.
    package static func load(_ path: String) throws(FleetError) -> Fleet {
        let (fleet, problems) = try read(path)
        guard let fleet else { throw FleetError(reason: .invalid(problems), path: path) }
        return fleet
    }

    /// Reads a file that holds a `services:` block alone, as `--target FILE` of a restore.
    /// - Throws: as `load`.
    package static func loadServices(_ path: String) throws(FleetError) -> Services {
        let notes = ReadingNotes()
        var services: Services?
        if let root = try parse(path, notes),
            var fields = FieldReader(root, "a target file", source(of: path), notes)
        {
            services = fields.required("services").flatMap {
                FleetSections(parts: [], notes: notes).services($0, in: fields)
            }
            fields.finish()
        }
        guard let services, !notes.problems.hasErrors else {
            throw FleetError(reason: .invalid(notes.problems.inOrder()), path: path)
        }
        return services
    }

    private static func files(at path: String) throws(FleetError) -> [String] {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
            throw FleetError(reason: .missing, path: path)
        }
        guard isFolder.boolValue else { return [path] }
        let names: [String]
        do {
            names = try FileManager.default.contentsOfDirectory(atPath: path)
        } catch {
            throw FleetError(reason: .unreadable("its folder cannot be listed"), path: path)
        }
        let wanted = names.filter { !$0.hasPrefix(".") && ($0.hasSuffix(".yaml") || $0.hasSuffix(".yml")) }.sorted()
        guard !wanted.isEmpty else { throw FleetError(reason: .missing, path: path) }
        guard wanted.count <= maximumFiles else {
            throw FleetError(reason: .unreadable("it holds more than \(maximumFiles) files"), path: path)
        }
        return wanted.map { (path.hasSuffix("/") ? path : path + "/") + $0 }
    }

    private static func parse(_ file: String, _ notes: ReadingNotes) throws(FleetError) -> YAMLNode? {
        guard let handle = FileHandle(forReadingAtPath: file) else {
            throw FleetError(
                reason: FileManager.default.fileExists(atPath: file) ? .unreadable("permission denied") : .missing,
                path: file)
        }
        let data: Data
        do {
            data = try handle.read(upToCount: YAMLDocument.maximumSize + 1) ?? Data()
        } catch {
            throw FleetError(reason: .unreadable("reading failed"), path: file)
        }
        let (root, problems) = YAMLDocument.parse(bytes: Array(data), file: file)
        notes.add(contentsOf: problems)
        return root
    }

    private static func source(of file: String) -> SourceFile {
        let folder = file.lastIndex(of: "/").map { String(file[..<$0]) }
        let current = FileManager.default.currentDirectoryPath
        switch folder {
        case nil: return SourceFile(name: file, folder: current)
        case let folder?:
            return SourceFile(
                name: file, folder: folder.hasPrefix("/") || file.hasPrefix("/") ? folder : current + "/" + folder)
        }
    }
}
