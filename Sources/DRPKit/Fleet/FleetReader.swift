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
        let reading = read(try contents(path), whole: path)
        return (reading.fleet, reading.problems)
    }

    /// The text of the fleet file, or of all files of its folder.
    package static func contents(_ path: String) throws(FleetError) -> [FleetFile] {
        try files(at: path).map { file throws(FleetError) in FleetFile(path: file, bytes: try bytes(of: file)) }
    }

    /// What files of a fleet say.
    package struct Reading: Sendable {
        /// nil if a problem is an error.
        package var fleet: Fleet?
        package var problems: [Problem]
        /// In the order in which they were read.
        package var references: [FleetReference]
    }

    /// As `read(_:)`, of files in memory.
    /// - Parameter path: for problems of no line.
    package static func read(_ files: [FleetFile], whole path: String) -> Reading {
        let notes = ReadingNotes()
        var parts: [(source: SourceFile, root: YAMLNode)] = []
        for file in files {
            let (root, problems) = YAMLDocument.parse(bytes: file.bytes, file: file.path)
            notes.add(contentsOf: problems)
            if let root { parts.append((source(of: file.path), root)) }
        }
        let fleet = FleetSections(parts: parts, notes: notes).read(whole: path)
        notes.checkReferences()
        if let fleet { FleetValidator(fleet: fleet, notes: notes).check() }
        let problems = notes.problems.inOrder()
        return Reading(fleet: problems.hasErrors ? nil : fleet, problems: problems, references: notes.outside)
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

    /// A store in a folder, which no fleet file has told of yet.
    /// - Parameter folder: absolute.
    package static func store(inFolder folder: String, named name: StoreName) -> StoreSettings {
        StoreSettings(name: name, site: unknownSite, kind: .folder(path: folder))
    }

    private static let unknownSite = SiteName(unchecked: "unknown")

    /// Reads a file that says how to reach one store, as an entry of `stores:` does: `--store FILE` of a bootstrap.
    /// - Throws: as `load`.
    package static func loadStore(_ path: String, named name: StoreName) throws(FleetError) -> StoreSettings {
        let notes = ReadingNotes()
        var kind: StoreSettings.Kind?
        if let root = try parse(path, notes),
            var fields = FieldReader(root, "a store's file", source(of: path), notes)
        {
            // An entry that was copied out of a fleet file has it.
            _ = fields.text(fields.optional("site"))
            kind = FleetSections(parts: [], notes: notes).storeKind(name, &fields)
            fields.finish()
        }
        guard let kind, !notes.problems.hasErrors else {
            throw FleetError(reason: .invalid(notes.problems.inOrder()), path: path)
        }
        return StoreSettings(name: name, site: unknownSite, kind: kind)
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
        let (root, problems) = YAMLDocument.parse(bytes: try bytes(of: file), file: file)
        notes.add(contentsOf: problems)
        return root
    }

    /// - Returns: no more than a byte above what is parsed.
    private static func bytes(of file: String) throws(FleetError) -> [UInt8] {
        guard let handle = FileHandle(forReadingAtPath: file) else {
            throw FleetError(
                reason: FileManager.default.fileExists(atPath: file) ? .unreadable("permission denied") : .missing,
                path: file)
        }
        do { return Array(try handle.read(upToCount: YAMLDocument.maximumSize + 1) ?? Data()) } catch {
            throw FleetError(reason: .unreadable("reading failed"), path: file)
        }
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
