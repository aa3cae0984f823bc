//! Which messages and words may say something about spam, and which only about a language.
//!
//! For [`words`](super::words). Public corpora of wanted mail are English, those of spam are of every language: a list made of all of it
//! would call German, French and Spanish spam. So words come of English messages alone, and what is a common word of another language as
//! well is nobody's evidence, whatever it says in English.

use std::collections::HashSet;
use std::sync::LazyLock;

/// Of what language a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Plainly English.
    English,
    /// Another, or not plainly English: words of other languages are half as many as those of English, or more.
    Other,
    /// Too few words to tell.
    Unknown,
}

impl Language {
    /// Of the different words of a message, in small letters.
    pub fn of<'a>(words: impl Iterator<Item = &'a str>) -> Self {
        let (mut all, mut english, mut other) = (0, 0, 0);
        for word in words {
            all += 1;
            english += usize::from(ENGLISH.contains(word));
            other += usize::from(is_of_another(word));
        }
        if all < FEW {
            Self::Unknown
        } else if english >= ENOUGH && english > 2 * other {
            Self::English
        } else {
            Self::Other
        }
    }
}

/// Whether a word, in small letters, is a common one of another language.
pub fn is_of_another(word: &str) -> bool {
    OTHERS.contains(word)
}

/// Fewer different words tell nothing.
const FEW: usize = 12;
/// Of the function words of English: less is in no English text of [`FEW`] words.
const ENOUGH: usize = 3;

static ENGLISH: LazyLock<HashSet<&str>> = LazyLock::new(|| FUNCTION_WORDS.split_whitespace().collect());
static OTHERS: LazyLock<HashSet<&str>> =
    LazyLock::new(|| OF_OTHERS.iter().flat_map(|(_, words)| words.split_whitespace()).collect());

/// Words without which nobody writes English, and which no other language of [`OF_OTHERS`] has.
const FUNCTION_WORDS: &str = "about all and any are been but can could did does for from has have here his how its \
    just like most not now one only other our out she should some than that the their them then there these they \
    this those through very what when where which who why with would you your";

/// Words of three ASCII letters and more, by ISO 639-1: articles, pronouns, prepositions, conjunctions, auxiliary verbs, and what letters in
/// that language begin and end with.
pub const OF_OTHERS: &[(&str, &str)] = &[
    (
        "de",
        "aber alle allem allen aller alles als also andere anderen art auch auf aus bald bei beim bereits beste besten bin bis bist \
         bitte brief danke dann das dass dein deine dem den denn der des dich die dies diese diesem diesen dieser dieses dir doch dort \
         durch ein eine einem einen einer eines einfach erst etwas euch euer fast fern frau freundlichen ganz gegen gern gift gut habe \
         haben hallo hand hast hat hatte herr hier hin ich ihm ihn ihnen ihr ihre ihrem ihren ihrer immer ins ist jede jeder jedes \
         jetzt kann kein keine keinen kind land man mehr mein meine meinen mich mir mit muss nach name nicht nichts noch nun nur oder \
         ohne rat rest rock schon sehr sein seine seit sich sie sind soll sollen sondern sowie stand tag uhr und uns unser unsere \
         unseren unter viel viele vom von vor wand wann war waren was weil wenn wer werden wie wieder will wir wird wurde zum zur zwei \
         zwischen",
    ),
    (
        "fr",
        "ainsi allez alors apres aucun aussi autre aux avant avec avez avoir avons bien bon bonjour bonne car ceci cela celle celui \
         ces cet cette ceux chance chaque chat chez chose coin comme comment cordialement dans date des deux dire doit donc dont elle \
         elles encore entre est etre eux faire fait faut fin fois font ici ils image jour juste leur leurs lors lui madame main mais \
         meme merci mes message mieux moins mois mon monsieur nos notre nous nouveau nouvelle ont page pain par parce pas pendant peu \
         peut plus pour pourquoi pouvez pouvoir propos puis quand que quel quelle quelque qui quoi rien sale sans sera ses seulement \
         sinon soit sommes son sont sous sur tant tes ton toujours tous tout toute toutes tres trop une vers voici vos votre vous",
    ),
    (
        "es",
        "actual ahora algo alguna algunas alguno algunos ante antes aqui asi atentamente aunque bien cada capital casi como con contra \
         cosa cosas cual cuando cuenta dar debe del desde despues dia dias donde dos durante ella ellas ellos entre era eran eres esa \
         esas ese eso esos esta estaba estado estamos estan estar estas este esto estos favor final fue fueron general gracias gran \
         hace hacer hacia han hasta hay hola hoy las les local los mas mejor menos mientras mis mismo mucho muchos muy nada normal nos \
         nosotros nuestra nuestro nueva nuevo nunca once otra otras otro otros pan para pero poco podemos poder por porque puede \
         pueden pues que quien real red saludos sea ser sera siempre sin sino sobre social solo somos son sus tal tambien tan tanto \
         tener tiene tienen time toda todas todo todos total tras una unas uno unos use usted ustedes ver vez",
    ),
    (
        "it",
        "abbiamo alla alle allo altri altro anche ancora avere bene buon buongiorno cane case che chi ciao cioe come con cordiali cosa \
         cosi cui dal dalla dalle degli dei del della delle dello devi devono dove due ecco era essere fare fino fra gia gli grazie \
         hai hanno indietro infatti ino invece loro lui mai male meno mentre mia mio molto more nei nel nella nelle niente noi non \
         nostra nostro note oggi ogni oppure ora per perche piu poco poi possiamo prima proprio puoi quale quando quanto quella quello \
         questa queste questi questo qui saluti sara sei sempre senza sia siamo sole sono sopra sta stata stato sua sul sulla suo tale \
         tra tua tuo tutta tutte tutti tutto una uno vostra vostro",
    ),
    (
        "nl",
        "aan alle als altijd andere bent best bij boot brand daar daarom dan dat deze die ding dit door dus echt een eens eerst elk \
         elke enige ergens gaan gaat geen gewoon goed groet groeten haar had hallo heb hebben hebt heeft heel het hier hij hoe hun \
         iets jij jou jouw jullie kan komt kon kunnen kunt laat last maar meer men met mijn moet moeten naar niet niets nog nooit \
         omdat ons onze ook over reeds rot sinds tegen toch toen tot uit van vanaf veel voor vraag waar waarom wanneer want war waren \
         wat week weer wel werd wij wil worden wordt zal zelf zich zien zij zijn zoals zodat zonder zou",
    ),
    (
        "pt",
        "agora ainda ante antes aos aquele aquilo assim ate bem bom cada com como contra das dela dele depois desde dessa desse deste \
         dia dias dois dos duas ela elas ele eles entre era essa esse esta estamos estao estar este estou foi foram hoje isso isto lhe \
         mais mas meio melhor mesmo meu meus minha muito nada nao nas nem nenhum nos nossa nosso nova novo num numa nunca obrigada \
         obrigado ola onde ontem outra outro para pela pelo pelos per pois por porque pouco qual quando quanto que quem sao seja sem \
         sempre sendo ser seu seus sim sobre sua suas tal tambem tem temos ter teu toda todas todo todos tudo uma umas uns vai vamos \
         voce voces",
    ),
    (
        "sv da no",
        "alla allt alt andra andre att bad bara begge ble blev bli blir blitt bra bruk dag dagens deg dei den denna denne der deras \
         dere deres det detta dette dig din dina dine disse ditt dock dykk eftersom ein eit eller ellers endast enn ett etter fart \
         fast fick finns flera fra full genom gift gjorde god goda hade han hans har hei hej hele her hos hva hvad hvis hvor igen ikke \
         inga ingen inn inom inte jag jeg kan kanske kom komma kommer kunne litt man mange med mellan men mer mest mig min mina mine \
         mitt mot mycket ned nej noe noen nog och ogs oss over para samma seg selv ser side sig sin sina sine ska skal skulle slut som \
         tack tak til till under uten vad var vara vare vart ved venlig vennlig verte vil vilka vill vore",
    ),
    (
        "pl cs",
        "abych ale ali ani ano ask bank bardzo bez bude budou budu bych bye byl byla bylo byly byt dla dnes dobry dziekuje dzien ich \
         ile jak jaki jako jeden jednak jego jej jen jest jeste jestem jeszcze jsem jsme jsou juz kazdy kde kdo kdy kdyz kiedy kontakt \
         ktera ktere kto ktora ktore ktory ktorych lub mam mame mnie moje moze mozna nad nam nami nas nasz nasze nebo neni nie nim niz \
         oraz order pan pana pani panstwa pod pozdrawiam prosze proto protoze przed przez przy sam sie tego tej ten tento tez tlumu \
         tohle tylko tym vam vas vase vsak wam was wasz wiec wszystko zde",
    ),
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn of(text: &str) -> Language {
        let words = text.to_lowercase();
        let words: HashSet<&str> =
            words.split(|c: char| !c.is_alphabetic()).filter(|word| word.chars().count() > 2).collect();
        Language::of(words.into_iter())
    }

    #[test]
    fn english_is_told_from_others() {
        for (text, language) in [
            (
                "Dear Bob, shall we meet on Thursday, where they had such good soup? I have not seen you for far too long, and there is much that would interest you about the mountains.",
                Language::English,
            ),
            (
                "Liebe Anna, wollen wir uns am Donnerstag treffen, wo wir letztes Mal waren? Die Suppe war sehr gut, und ich habe dich lange nicht gesehen.",
                Language::Other,
            ),
            (
                "Chère Anne, voulez-vous déjeuner jeudi avec nous, comme la dernière fois ? La soupe était très bonne, et je ne vous ai pas vue depuis longtemps.",
                Language::Other,
            ),
            (
                "Querida Ana, ¿quieres que comamos el jueves donde la última vez? La sopa estaba muy buena, y hace mucho tiempo que no te veo por aquí.",
                Language::Other,
            ),
            ("Your order has shipped", Language::Unknown),
        ] {
            assert_eq!(of(text), language, "{text}");
        }
    }

    #[test]
    fn what_tells_english_is_of_no_other_language() {
        assert_eq!(ENGLISH.iter().copied().find(|word| is_of_another(word)), None);
        assert!(OTHERS.iter().all(|word| word.bytes().all(|byte| byte.is_ascii_lowercase())));
    }
}
