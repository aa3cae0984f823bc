//! The phrases, by theme.
//!
//! For `phrases`, which finds them. Generic wording only, of which honest mail has one now and then and unwanted mail has many; how
//! many it takes is the business of the rules of the group `text`. Phrases are separated by commas.

use super::phrases::Theme;

/// The phrases of each theme, written in words as `phrases` divides them.
#[rustfmt::skip]
pub(super) const THEMES: &[(Theme, &str)] = &[
    (Theme::AdvanceFee, "\
        next of kin, business proposal, business proposition, million us dollars, \
        million united states dollars, million dollars, bank draft, transfer of funds, \
        transfer this money, transfer the money, fund transfer, the sum of, sum of $, sum of us, \
        deceased, foreign account, your account details, barrister, late husband, late father, \
        death of my, strictly confidential, highly confidential, utmost confidentiality, \
        absolute confidentiality, utmost secrecy, mutual benefit, god bless you, dear friend, \
        dear beneficiary, beneficiary, compensation fund, inheritance fund, consignment, \
        security company, diplomatic, diplomatic courier, risk free, % risk free, # risk free, \
        your assistance, seek your assistance, solicit your, kindly contact, urgent response, \
        urgent reply, your urgent response, foreign partner, reliable person, trustworthy, \
        former president, head of state, central bank, reserve bank, contract payment, atm card, \
        united nations, payment file, dying of cancer, charity organization, orphanage, less privileged, \
        humanitarian, modalities, repatriate, over invoiced, dormant account, unclaimed, claim the funds, \
        claim this money, swift code, private email, private telephone, direct telephone, full names, \
        your occupation, my name is, contacting you, contact you, reply me, get back to me, \
        contact me through, contact me via, contact me on, business transaction, mutual business, \
        foreign investor, investment project, business relationship, donation, donate, \
        have been selected, i am a banker, account officer, bank manager, fund manager, \
        investment portfolio, late client, no next of kin, foreign beneficiary, legitimate business, \
        million usd, million euro, million euros, million pounds, us dollars, usd, euros, i am mrs, \
        i am mr, i am barrister, i am miss, am mrs, am mr, late mother, my late, am contacting, overseas, \
        invest in your country, your country, honest person, cancer, my deceased, the deceased, \
        transaction, confidential, trunk box, consignment box, unclaimed fund, payment of your, \
        your payment, your fund, compensation payment, overdue payment, scam victims, western union, \
        money gram, moneygram, delivery of your, atm visa card, federal reserve, the sum, of this fund, \
        this fund, the funds, the fund, fund owner, kindly reply, kindly respond, urgently, god fearing, \
        sincerity, reply to my, reply as soon, expecting your, awaiting your, \
        spende, meine spende, spende von, gespendet, erbschaft, nachlass, verstorbenen, verstorbener, \
        geschäftsvorschlag, begünstigter, begünstigten, vertraulich, millionen euro, millionen dollar, \
        bénéficiaire, héritage, faire un don, un don de, décédé, maladie, millions euros, millions dollars, \
        donación, beneficiario, herencia, fallecido, millones de"),
    (Theme::Lottery, "\
        you have won, have won the, winning number, winning numbers, lucky number, lucky numbers, \
        lottery, online lottery, email lottery, lottery international, promotion award, \
        winning notification, award notification, claims agent, claim agent, fiduciary agent, \
        claim your prize, claim your winnings, lucky winner, lucky winners, batch number, ticket number, \
        reference number, congratulations you, prize, cash prize, sweepstakes, lump sum, sweepstake"),
    (Theme::Extortion, "\
        your webcam, through your camera, your camera, i recorded, recorded you, video of you, \
        adult site, adult website, porn site, adult sites, your password is, know your password, \
        is your password, bitcoin wallet, bitcoin address, btc wallet, btc address, in bitcoin, \
        in bitcoins, via bitcoin, wallet address, # hours, you have # hours, remote access, \
        your contacts, all of your contacts, your contact list, your friends and family, i infected, \
        malware on, trojan, keylogger, rat software, my silence, embarrassing, humiliation, masturbat, \
        masturbating, masturbation, do not try to, dont try to, delete the video, destroy the video, \
        split screen, ddos attack, ransom, explosive device"),
    (Theme::Credentials, "\
        verify your account, verify your identity, verify your information, verify your email, \
        confirm your account, confirm your identity, confirm your information, update your account, \
        update your information, update your billing, update your payment, validate your account, \
        validate your email, validate your mailbox, your account has been suspended, \
        account has been suspended, account has been limited, account has been locked, \
        account will be suspended, account will be closed, account will be deactivated, \
        account will be terminated, account suspension, account verification, account is limited, \
        limited access, restore your account, restore access, restore your access, \
        reactivate your account, unusual activity, unauthorized access, unauthorized login, \
        unusual sign in, security measure, security measures, online banking, internet banking, \
        mailbox is full, mailbox is almost full, mailbox quota, storage limit, exceeded the storage, \
        quota limit, password will expire, password expires, password expiration, keep same password, \
        keep my password, keep current password, click here to verify, click here to update, \
        click below to, click the link below, follow the link below, click on the link below, \
        log in to your account, login to your account, dear customer, dear valued customer, \
        dear account holder, dear user, dear member, valued customer, failure to, within # hours, \
        billing information, credit card number, card number, social security number, \
        mothers maiden name, atm pin, pin number, avoid suspension, avoid service interruption, webmail, \
        help desk, it support team, upgrade your mailbox, upgrade your account, protect your account, \
        fraudulent, random account, account review, verify your, confirm your, your account will, \
        account will, will be suspended, will be deactivated, will be terminated, will be blocked, \
        has been limited, been suspended, been limited, sign in to, click here, security department, \
        customer service, account information, account details, personal information, \
        financial institution, identity theft, fraud, fraud protection, paypal account, ebay account, \
        bank account, your bank, access to your account, your account, dear paypal, dear ebay, \
        update center, resolution center, account holder, card holder, cardholder, your mailbox, \
        email account, deactivated, pending messages, undelivered, release messages, suspended, \
        temporarily, verification, reactivation, secure server, billing department"),
    (Theme::Pharmacy, "\
        viagra, cialis, levitra, xanax, valium, vicodin, phentermine, ambien, tramadol, propecia, \
        hydrocodone, kamagra, tadalafil, sildenafil, online pharmacy, canadian pharmacy, \
        internet pharmacy, no prescription, without prescription, prescription drugs, \
        prescription medication, prescription medications, prior prescription, generic drugs, erectile, \
        erectile dysfunction, male enhancement, enlargement, penis enlargement, weight loss, lose weight, \
        burn fat, fat burning, diet pills, diet pill, human growth hormone, growth hormone, hgh, \
        anti aging, wrinkles, cellulite, cbd gummies, ketogenic, testosterone, longer erections, \
        hair loss, sexual performance, pain relief, our pharmacy, cheap meds, your penis, penis pills, \
        penis size, penis growth, oxycodone, adderall, percocet, codeine, oxycontin, ultram, lortab, \
        norco, meridia, fioricet, your doctor, no prior prescription, prescription needed, \
        without a prescription, buy viagra, buy cialis, soft tabs, pills, per pill, pharmacies, dosage, \
        discreet packaging, discreet shipping, worldwide shipping, bed partner, in bed, sex drive, \
        libido, lose pounds, lose up to, appetite, metabolism, weight loss pills"),
    (Theme::Loans, "\
        mortgage, mortgage rates, mortgage rate, lowest rates, low rates, interest rate, interest rates, \
        lowest interest, refinance, refinancing, home loan, home loans, home equity, debt consolidation, \
        consolidate your, consolidate debt, credit card debt, bad credit, no credit, credit history, \
        credit repair, poor credit, perfect credit, good or bad credit, pre approved, preapproved, \
        pre qualified, loan offer, loan amount, apply for a loan, business loan, personal loan, \
        personal loans, cash advance, payday, no obligation, free quote, free quotes, lenders, lender, \
        monthly payment, monthly payments, life insurance, term life, insurance quote, insurance quotes, \
        fixed rate, % apr, % interest rate, financial freedom, eliminate debt, lower your, \
        save thousands, reduce your, loan company, loan firm, loan offers, offer loans, we offer loans, \
        loan at, a loan, credit score, low interest, interest loan, pay off your, pay your bills, \
        financial help, financial assistance, funding, project funding, business funding, \
        business financing, investment funding, loan application, need a loan, loans, loan, \
        working capital, amount needed, loan duration, collateral, accident insurance, car insurance, \
        auto insurance, health insurance, insurance coverage, warranty, extended warranty, warranty expires, warranties, obligation free, quotes are, credit report, \
        credit rating, approval, instant approval, guaranteed approval, credit cards, credit card"),
    (Theme::Money, "\
        make money, earn money, extra income, extra cash, make $, earn $, earn extra, earn over, \
        per week, per month, from home, work from home, work at home, home based business, home business, \
        own boss, be your own boss, financial independence, financially independent, passive income, \
        residual income, income opportunity, business opportunity, opportunity of a lifetime, \
        once in a lifetime, multi level, mlm, network marketing, downline, get rich, become rich, \
        millionaire, millionaires, cash in, potential earnings, earning potential, no experience, \
        no selling, proven system, money back guarantee, money back, guaranteed income, \
        investment opportunity, bitcoin, crypto trading, binary options, forex, trading platform, \
        double your, chain letter, this is legal, legal program, envelopes, casino, online casino, \
        free chips, jackpot, welcome bonus, your first deposit, poker, sign up free, % legal, \
        unlimited income, serious people, this program, paid to, cash, income, profits, extra money, \
        free money, make thousands, thousands of dollars, # per week, # per month, # a week, your home, \
        your own business, financial freedom, your computer, internet business, simple system, \
        step by step, initial investment, no investment, without risk, risk free, opportunity, \
        distributors, join our, per day, quit your job, retire, retirement"),
    (Theme::Stocks, "\
        penny stock, penny stocks, stock alert, stock pick, stock picks, hot stock, investor alert, \
        investors alert, strong buy, price target, target price, current price, trading symbol, otc, \
        otcbb, pink sheets, shares outstanding, forward looking statements, forward looking, \
        within the meaning of section, short term target, projected price, undervalued, watch this stock, \
        huge gains, day trading, publicly traded, buy recommendation, this stock, investors, trading, \
        otc bb"),
    (Theme::Adult, "\
        pornstar, hardcore, sexy, horny, nude, naked girls, hot girls, teen girls, lesbian, lesbians, \
        pussy, cumshot, blowjob, slut, sluts, milf, housewives, adult dating, adult entertainment, \
        live cam, cam girls, over # years of age, over # to enter, # years or older, sexually explicit, \
        escorts, single women, meet singles, russian women, russian girls, russian brides, my pics, \
        live sex, sex videos, sex video, adult video, adult videos, hardcore sex, barely legal, \
        free porn, porn videos, teen sex, nude photos, nude pics, hot babes, xxx videos, xxx video, \
        sex toys, amateur girls, naked pics, sex partner, horny housewives, adults only, having sex, \
        bigger penis, bigger dick, your penis, penis size, porn, porno, p rn, hardcore porn, xxx, cock, cocks, c ck, \
        dildo, cum, cumming, cum shots, facials, blowjobs, fuck, fucks, fucking, fucked, f ck, f cks, f cking, fuckbook, \
        tits, big tits, anal sex, orgasm, orgasms, erotic, sex shop, hot teen, teen girl, teens, young girls, sexy girls, \
        girls for, girls in your, webcam girls, web cam, live girls, adult site, adult sites, naked, nudes, porn movies, porn movie, sex movies, \
        meet girls, looking for sex, for sex, swingers, shemale, voyeur, gangbang, hot chicks"),
    (Theme::Goods, "\
        rolex, replica, replica watches, luxury watches, designer watches, designer handbags, \
        swiss watches, louis vuitton, gucci, rayban, ray ban, oem software, cheap software, \
        university diploma, university degree, attending classes, your degree, degree program, doctorate, transcripts, \
        masters degree, diplomas, diploma, bachelors, mba, no examination, \
        no classes, life experience, present knowledge, cable descrambler, descrambler, free tv, \
        copy dvd, copy any dvd, ink cartridges, inkjet, printer cartridges, cigarettes, hidden camera, \
        private investigator, free sample, free access, free membership, free shipping, free information, \
        free offer, order now, order today, act now, limited time, limited offer, special offer, \
        special promotion, best price, best prices, lowest prices, low price, discount, save up to, \
        why pay, satisfaction guaranteed, % satisfaction, guaranteed, click here now, visit our website, \
        supplies last, while supplies, retail price, retail value, no cost, at no cost, absolutely free, \
        % free, all major credit cards, credit cards accepted, toll free, call now, call toll free, \
        phone now, dear sir, dear sirs, dear sir madam, leading manufacturer, our factory, wholesale, \
        exporter, best regards sales, replica rolex, fake watches, brand watches, top quality, \
        best quality, low cost, cable box, cable descramblers, pay per view, laser toner, \
        printer supplies, magazine, satisfaction, order form, order by, order online, to order, \
        exclusive offer, limited supply, free download, free report, free info, free video, free cd, \
        call today, fax, retail, prices, shipping, gift, sale"),
    (Theme::Bulk, "\
        to be removed, be removed from, removed from our, removed from this, remove me, \
        remove in the subject, remove yourself, removal instructions, opt out, opt in, opted in, \
        opt out of, this is not spam, is not spam, not unsolicited, not an unsolicited, unsolicited, \
        do not wish to receive, wish to receive, future mailings, further mailings, future emails, \
        further emails, our mailing, our list, this mailing, receiving this, you are receiving this, \
        received this email because, received this in error, in error, this email was sent, \
        this message was sent, was sent to you, was sent to, one time mailing, one time message, \
        cannot be considered spam, senate bill, bill s #, title iii, can spam, canspam, in compliance, \
        compliance with, advertisement, this is an advertisement, email advertisement, partner sites, \
        our partners, our affiliates, one of our, bulk email, we apologize, we respect your privacy, \
        privacy policy, view this email, in your browser, having trouble, trouble viewing, click here if, \
        if you cannot see, add us to your, po box, p o box, free of charge, reply with remove, \
        with remove, subject line, in the subject, type remove, word remove, remove as, subject remove, \
        your email address, email address removed, never hear from, our database, our mailing list, \
        taken off, exclude yourself, excluded from, from our list, from future, if you wish, \
        click below to, unsubscribe here, click here to, please click here, this is a one, sent to you, \
        by third party, affiliate"),
    (Theme::Marketing, "\
        email addresses, million email, million addresses, email marketing, targeted email, bulk email, \
        bulk friendly, email list, email lists, mailing lists for sale, fresh leads, qualified leads, \
        lead generation, search engines, search engine optimization, search engine ranking, seo services, \
        seo, seo company, seo expert, first page of google, google first page, rank your, rank on, \
        website ranking, increase traffic, website traffic, web traffic, traffic to your, \
        visitors to your, backlinks, backlink, link building, guest post, guest posts, guest posting, \
        domain authority, sponsored post, your website and, web development company, \
        mobile app development, social media marketing, digital marketing, advertise your, promote your, \
        your business, grow your business, your competitors, customers worldwide, database of, \
        contact list, attendees list, attendee list, no upfront, affordable price, explainer video, \
        merchant account, accept credit cards, credit card processing, web hosting, seo packages, \
        seo package, quality backlinks, white hat, blackhat, black hat, google ranking, google rankings, \
        alexa, your website, mass email, email campaign, email campaigns, mailing software, bulk mailing, \
        opt in email, million emails, targeted list, business list, business owners, internet marketing, \
        link exchange, exchange links, exchanging links, reciprocal link, reciprocal links, search engine traffic, \
        link partner, link to my, link from your, \
        online marketing, marketing services, marketing company, outsourcing, offshore, our team of, \
        app development, mobile apps, design services, logo design, video marketing, cost effective"),
    (Theme::Pretext, "\
        your parcel, delivery attempt, delivery failed, failed delivery, could not be delivered, \
        shipping fee, customs fee, redelivery, reschedule delivery, track your, tracking number, \
        attached invoice, invoice attached, find attached, please see attached, attached document, \
        purchase order, new order, quotation, request for quotation, price list, proforma, \
        proforma invoice, wire transfer, payment advice, payment slip, payment copy, swift copy, \
        remittance, remittance advice, overdue, outstanding invoice, outstanding payment, \
        scanned document, scanned copy, scan from, voice message, voicemail, new voicemail, missed call, \
        secure message, secure document, shared a document, shared a file, document has been, \
        review the document, view document, view the document, open the attachment, open the attached, \
        order confirmation, tax refund, are you available, quick task, auto renew, has been charged, \
        been debited, if you did not authorize, customer support number, geek squad, e fax, efax, \
        fax message, your account statement, shipping documents, shipment, bill of lading, delivery note, \
        invoice, document attached, kindly find, kindly see, herewith attached, attached herewith, \
        find enclosed, sample picture, urgent order, order list, new inquiry, inquiry, enquiry, \
        best price, fedex, dhl, usps, parcel, courier, fax, pdf document, shared with you, \
        archive password"),
    (Theme::Solicitation, "\
        our company, your company, our products, your products, our product, your product, \
        your business, your organization, we offer, we provide, we can offer, we can provide, we are a, \
        we specialize, we specialise, our website, our web site, visit our, contact us, call us, email us, \
        send us, are you interested, you are interested, if interested, for more information, \
        more info, look forward to, looking forward to, hear from you, hearing from you, \
        our services, our service, our prices, our catalog, our catalogue, our clients, our customers, \
        high quality, competitive price, competitive prices, we guarantee, we can help, order today, \
        cooperate, cooperation, manufacturer, manufacturers, supplier, suppliers, introduce our, \
        introduce ourselves, introduce myself, glad to introduce, samples, free samples, \
        your inquiry, your enquiry, your requirements, your needs, best offer, business cooperation, \
        no obligation, free consultation, free trial, price quote, years of experience, years experience, \
        sales manager, marketing manager, business development, our team, partnership, export, \
        long term business, reply with, interested in, feel free to contact"),
    (Theme::Details, "\
        your name, full name, your full name, full names, your address, home address, contact address, \
        postal address, shipping address, mailing address, house address, residential address, \
        phone number, telephone number, your telephone, your phone, cell phone, mobile number, \
        phone numbers, telephone numbers, contact number, fax number, your country, country of, \
        your age, your occupation, occupation, marital status, date of birth, identity card, \
        id card, copy of your, drivers license, driving license, international passport, your passport, \
        monthly income, your bank name, account number, nationality, zip code, fill out the, fill in the, \
        fill the, provide us with, send me your, send your, your contact, your information, your personal"),
    (Theme::Click, "\
        click here, please click, click here to, click below, click the link, click on the link, \
        click this link, click on this link, link below, the link below, below link, by clicking, \
        clicking here, clicking on, click to, follow this link, follow the link, visit the link, go here, \
        go to http, unable to see, unable to view, cannot see, cant see, cannot view, cant view, \
        unable to read, cannot read, view it, view this, view as a web page, see images, \
        copy and paste, the button below, button below, visit here"),
    (Theme::Greeting, "\
        dear friend, dear friends, dear sir, dear sirs, dear sir madam, dear sir or madam, sir madam, \
        dear madam, dear customer, dear customers, dear valued, dear client, dear user, dear member, \
        dear beneficiary, dear homeowner, dear home owner, dear business owner, dear email user, \
        dear account, dear webmail, dear reader, dear subscriber, dear winner, dear purchaser, \
        dear manager, dear ceo, dear purchasing, dear one, dear beloved, my dear, dear good friend, \
        hello dear, hi dear, hello friend, greetings to you, attention please, dear entrepreneur, \
        dear investor, dear candidate, dear applicant, dear partner, dear webmaster"),
    (Theme::Form, "\
        result of your feedback form, below is the result of, it was submitted by, \
        copy of the message you sent, copy of the following message, this is a copy of, copy of your message, \
        this is an enquiry, this is an inquiry, message sent via the contact form, sent from a contact form, \
        kopie der folgenden nachricht, kopie ihrer nachricht, dies ist eine mailanfrage, gesendet wurde, \
        ceci est une copie, copie du message, ceci est un message expédié, copie de votre message, \
        copia del mensaje, copia del siguiente mensaje, copia del messaggio, copia del seguente messaggio"),
];
