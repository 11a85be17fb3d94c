"""What the start page says, in English and German. Texts may hold HTML of ours, never of others."""

from typing import Final

__all__ = ["TEXTS"]

TEXTS: Final[dict[str, dict[str, str]]] = {
    "en": {
        "research": "Research use only. Not a medical device, not for diagnosis.",
        "no_photographs": "The studies hold no photograph yet. Add some below, or with "
        "<code>dermcheck import</code>.",
        "start": "Label photographs",
        "studies": "All studies",
        "counts": "{done} of {total} photographs are labelled, {left} are left.",
        "waiting": "{count} submissions wait in this browser; they are sent as soon as the viewer is open.",
        "keys": "In the viewer, <kbd>Ctrl</kbd>+<kbd>Enter</kbd> submits what you see and shows the next "
        "photograph; <kbd>?</kbd> shows all keys.",
        "unsent": "{count} labels wait on this computer for the archive and are sent again by themselves.",
        "problems": "Something needs attention",
        "more": "and {more} more like these",
        "list": "Photographs",
        "list_open": "To do",
        "list_done": "Done",
        "list_all": "All",
        "before": "← back",
        "after": "on →",
        "page": "page {page} of {pages}",
        "photograph": "Photograph",
        "taken": "Taken",
        "where": "Where",
        "state": "State",
        "nothing_listed": "None.",
        "open": "to do",
        "labelled": "labelled by {who} {when}",
        "visited": "open at {who}",
        "somebody": "somebody",
        "open_photograph": "Open the photograph",
        "upload": "Add photographs",
        "upload_hint": "JPEG, PNG, TIFF or DICOM. What you fill in here is stored with all photographs that "
        "you add now.",
        "upload_drop": "Drop photographs here, or choose them:",
        "upload_done": "added",
        "upload_failed": "not added:",
        "upload_busy": "is being added …",
        "patient_id": "Patient number",
        "body_site": "Place on the skin",
        "acquired": "Taken on",
        "slicer": "With 3D Slicer",
        "slicer_steps": "Install the extension <em>MONAI Label</em>, open the module of that name, enter "
        "this page's address as <em>MONAI Label server</em>, and press <em>Next Sample</em>.",
        "documents": "Documents",
        "documents_list": "<a href='/viewer/docs/clinician.md'>Reading and correcting answers</a> · "
        "<a href='/viewer/docs/administrator.md'>Installing and running</a> · "
        "<a href='/viewer/docs/evaluation.md'>How well the models answer</a> · "
        "<a href='/viewer/docs/dicom-conformance.md'>DICOM conformance</a>",
        "side_L": "left",
        "side_R": "right",
        "side_B": "both sides",
        "learning": "Learning from the corrections",
        "history": "How the models came on",
        "server": "This server",
        "models": "Models that answer:",
        "loading": "are being loaded",
        "training": "A training runs.",
        "examine": "Examine the installation",
        "offers": "What this server offers",
        "requests": "All its requests",
    },
    "de": {
        "research": "Nur für die Forschung. Kein Medizinprodukt, nicht zur Diagnose.",
        "no_photographs": "Die Studien enthalten noch kein Foto. Unten welche hinzufügen, oder mit "
        "<code>dermcheck import</code>.",
        "start": "Fotos beurteilen",
        "studies": "Alle Studien",
        "counts": "{done} von {total} Fotos sind beurteilt, {left} sind übrig.",
        "waiting": "{count} Korrekturen warten in diesem Browser; sie werden geschickt, sobald der Viewer "
        "offen ist.",
        "keys": "Im Viewer schickt <kbd>Strg</kbd>+<kbd>Enter</kbd> ab, was Sie sehen, und zeigt das nächste "
        "Foto; <kbd>?</kbd> zeigt alle Tasten.",
        "unsent": "{count} Korrekturen warten auf diesem Rechner auf das Archiv und werden von selbst wieder "
        "geschickt.",
        "problems": "Hier ist etwas zu tun",
        "more": "und {more} weitere dieser Art",
        "list": "Fotos",
        "list_open": "Zu tun",
        "list_done": "Fertig",
        "list_all": "Alle",
        "before": "← zurück",
        "after": "weiter →",
        "page": "Seite {page} von {pages}",
        "photograph": "Foto",
        "taken": "Aufgenommen",
        "where": "Stelle",
        "state": "Stand",
        "nothing_listed": "Keine.",
        "open": "zu tun",
        "labelled": "beurteilt von {who} {when}",
        "visited": "offen bei {who}",
        "somebody": "jemandem",
        "open_photograph": "Foto öffnen",
        "upload": "Fotos hinzufügen",
        "upload_hint": "JPEG, PNG, TIFF oder DICOM. Was Sie hier eintragen, wird bei allen Fotos "
        "gespeichert, die Sie jetzt hinzufügen.",
        "upload_drop": "Fotos hierher ziehen oder auswählen:",
        "upload_done": "hinzugefügt",
        "upload_failed": "nicht hinzugefügt:",
        "upload_busy": "wird hinzugefügt …",
        "patient_id": "Patientennummer",
        "body_site": "Stelle auf der Haut",
        "acquired": "Aufgenommen am",
        "slicer": "Mit 3D Slicer",
        "slicer_steps": "Die Erweiterung <em>MONAI Label</em> installieren, das Modul dieses Namens öffnen, "
        "die Adresse dieser Seite als <em>MONAI Label server</em> eintragen und <em>Next Sample</em> "
        "drücken.",
        "documents": "Anleitungen (Englisch)",
        "documents_list": "<a href='/viewer/docs/clinician.md'>Antworten lesen und korrigieren</a> · "
        "<a href='/viewer/docs/administrator.md'>Installieren und betreiben</a> · "
        "<a href='/viewer/docs/evaluation.md'>Wie gut die Modelle antworten</a> · "
        "<a href='/viewer/docs/dicom-conformance.md'>DICOM-Konformität</a>",
        "side_L": "links",
        "side_R": "rechts",
        "side_B": "beidseits",
        "learning": "Lernen aus den Korrekturen",
        "history": "Wie sich die Modelle entwickelt haben",
        "server": "Dieser Server",
        "models": "Diese Modelle antworten:",
        "loading": "werden geladen",
        "training": "Ein Training läuft.",
        "examine": "Installation untersuchen",
        "offers": "Was dieser Server anbietet",
        "requests": "Alle seine Anfragen",
    },
}
